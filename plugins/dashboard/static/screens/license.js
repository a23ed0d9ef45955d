// What the license says, and the way to another one.

import { phrase } from "../text.js";
import { onlyLooking } from "./changes.js";

const LABELS = {
  app: phrase("Product"),
  product: phrase("Product"),
  name: phrase("Licensed to"),
  company: phrase("Company"),
  contact: phrase("Contact"),
  email: phrase("E-mail"),
  users: phrase("Users"),
  expires: phrase("Valid until"),
  expiry: phrase("Valid until"),
  type: phrase("Kind"),
};

/** Show the screen. */
export async function page(root, ctx) {
  await new License(root, ctx).open();
}

class License {
  constructor(root, ctx) {
    this.root = root;
    this.ctx = ctx;
    this.license = /** @type {any} */ (null);
    this.reason = "";
    this.isNew = false;
    this.isChecking = false;
  }

  async open() {
    const { live, may, signal } = this.ctx;
    this.may = may("POST", "/license");
    await this.read();
    this.draw();
    live.on("job", (job) => job.type === "license" && this.changed(job), signal);
  }

  /** Somebody else changes the license, or this page does. */
  changed(job) {
    if (job.status === "success" && !this.isChecking) {
      this.read().then(() => this.draw(), this.ctx.report);
    }
  }

  /** Read what the license says, or why there is none. */
  async read() {
    const response = await this.ctx.send("GET", "/license", { headers: { Prefer: "nothing=204" } });
    this.license = response.status === 204 ? null : await response.json();
    this.reason = response.headers.get("Error-Message") ?? "";
  }

  draw() {
    const { html, message, nothing, render, t } = this.ctx;
    render(html`
      ${this.isNew ? message("good", t("The new license is in force.")) : nothing}
      <section class="card">
        <h2>${t("Present license")}</h2>
        ${this.license ? this.facts() : this.nothingThere()}
      </section>
      <section class="card">
        <h2>${t("New license")}</h2>
        ${this.may ? this.form() : onlyLooking(this.ctx)}
      </section>`);
  }

  nothingThere() {
    const { html, message, t } = this.ctx;
    return this.reason ? message("warn", this.reason) : html`<p class="hint">${t("There is no license yet.")}</p>`;
  }

  facts() {
    const { html, t } = this.ctx;
    return html`<dl class="facts">
      ${Object.entries(this.license).map(([name, value]) => html`<dt>${Object.hasOwn(LABELS, name) ? t(LABELS[name]) : name}</dt>
        <dd>${typeof value === "string" ? value : JSON.stringify(value)}</dd>`)}
    </dl>`;
  }

  form() {
    const { html, field, nothing, submit, t } = this.ctx;
    return html`<form @submit=${(event) => submit(event, (form) => this.save(form))}>
      ${field({ name: "license", label: t("License file"), type: "file", required: true, hint: t("The file that you were sent, as it is. The present license stays if the new one is not valid.") })}
      <div class="outcome"></div>
      <p class="hint" role="status">${this.isChecking ? t("The license is being checked …") : nothing}</p>
      <p class="actions"><button class="primary">${t("Use this license")}</button></p>
    </form>`;
  }

  async save(form) {
    this.isNew = false;
    this.check(true);
    try {
      this.license = await this.ctx.call("POST", "/license", { fields: { license: form.elements.license.files[0] } });
      this.reason = "";
      this.isNew = true;
      form.reset();
    } finally {
      this.check(false);
    }
  }

  /** Say whether the appliance is checking one, which takes it some seconds. */
  check(isChecking) {
    this.isChecking = isChecking;
    this.draw();
  }
}
