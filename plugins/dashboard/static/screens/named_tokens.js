// Named tokens: what each may do and until when; made, shown once and revoked.

import { at, told } from "./changes.js";
import { day, now } from "../text.js";

const NAME = /^[a-z][a-z0-9-]{0,31}$/;

export class NamedTokens {
  /**
   * @param {any} ctx
   * @param {() => void} draw draws the screen.
   */
  constructor(ctx, draw) {
    this.ctx = ctx;
    this.draw = draw;
    this.tokens = {};
    this.made = /** @type {any} */ (null);
    this.role = "read";
    this.copied = "";
    this.trouble = /** @type {any} */ (null);
  }

  async read() {
    this.tokens = (await this.ctx.call("GET", "/tokens")).tokens;
  }

  view() {
    const { html, nothing, t } = this.ctx;
    return html`
      <section class="card">
        <h2 id="named" tabindex="-1">${t("Named tokens")}</h2>
        <p>${t("For people and programs that need not be the administrator. Each can be revoked by itself, and none can change tokens.")}</p>
        ${this.made ? this.once() : nothing}
        ${this.trouble ? this.ctx.alert(this.trouble) : nothing}
        ${Object.keys(this.tokens).length ? this.table() : html`<p class="hint">${t("There are none yet.")}</p>`}
      </section>
      <section class="card">
        <h2>${t("New named token")}</h2>
        ${this.form()}
      </section>`;
  }

  table() {
    const { html, date, t } = this.ctx;
    return html`<div class="wide" tabindex="0" role="region" aria-labelledby="named">
      <table class="stacked" role="table">
        <thead role="rowgroup"><tr role="row">
          ${[t("Name"), t("May do"), t("Made"), t("Valid until"), html`<span class="unseen">${t("Action")}</span>`].map((each) => html`<th role="columnheader" scope="col">${each}</th>`)}
        </tr></thead>
        <tbody role="rowgroup">${Object.entries(this.tokens).map(([name, { scopes, created, expires }]) => html`<tr role="row">
          <th role="rowheader" scope="row">${name}</th>
          <td role="cell">${(scopes ?? []).map((scope) => this.scope(scope)).join(", ")}</td>
          <td role="cell">${created ? date(created) : ""}</td>
          <td role="cell">${this.end(expires)}</td>
          <td role="cell"><button type="button" class="plain" aria-label=${t("Revoke {name}", { name })} @click=${() => this.revoke(name)}>${t("Revoke")}</button></td>
        </tr>`)}</tbody>
      </table>
    </div>`;
  }

  scope(scope) {
    const { t } = this.ctx;
    return scope === "all" ? t("everything") : scope === "read" ? t("look at everything") : scope;
  }

  end(expires) {
    const { html, dateTime, t } = this.ctx;
    if (!expires) {
      return t("no end");
    }
    const isOver = expires <= now();
    return isOver ? html`<span class="state bad">${t("expired")}</span>` : dateTime(expires);
  }

  form() {
    const { html, field, submit, t } = this.ctx;
    const choose = (event) => ((this.role = event.target.value), this.draw());
    const roles = [
      { value: "read", label: t("Look, and change nothing") },
      { value: "all", label: t("Everything but tokens") },
      { value: "paths", label: t("Certain parts only") },
    ];
    return html`<form @submit=${(event) => submit(event, (form) => this.create(form))}>
      ${field({ name: "name", label: t("Name"), required: true, maxlength: 32, hint: t("Who it is for: small letters, digits and hyphens, such as monitoring.") })}
      ${field({ name: "role", label: t("May do"), options: roles, value: this.role, required: true, pointer: "/role", change: choose })}
      <fieldset ?hidden=${this.role !== "paths"} ?disabled=${this.role !== "paths"}>
        <legend class="unseen">${t("Parts")}</legend>
        ${field({ name: "scopes", label: t("Parts"), required: true, hint: t("As the API manual names them, separated by commas: /backup for all of it, GET /backup to look only.") })}
      </fieldset>
      ${field({ name: "expires", label: t("Last day"), type: "date", min: today(), hint: t("Without one it is valid until it is revoked.") })}
      <div class="outcome"></div>
      <p class="actions"><button class="primary">${t("Make the token")}</button></p>
    </form>`;
  }

  async create(form) {
    const { call, t } = this.ctx;
    const { name, scopes, expires } = form.elements;
    if (!NAME.test(name.value.trim())) {
      throw at("/name", t("Use small letters, digits and hyphens, and begin with a letter."));
    }
    if (this.role === "paths" && !scopes.value.trim()) {
      throw at("/scopes", t("Name at least one part, such as /backup."));
    }
    this.made = null;
    const fields = {
      name: name.value.trim(),
      scopes: this.role === "paths" ? scopes.value.trim() : this.role,
      expires: expires.value ? endOf(expires.value) : undefined,
    };
    this.made = await call("POST", "/tokens", { fields });
    this.copied = "";
    this.trouble = null;
    form.reset();
    this.role = "read";
    this.draw(); // the list may be lost, but not the token, which the appliance tells this once
    document.getElementById("made")?.focus();
    await this.readAgain();
  }

  /** Show the list as it is now, or what keeps from reading it. */
  async readAgain() {
    await this.read().catch((error) => (this.trouble = error));
    this.draw();
  }

  /** The token itself, this once. */
  once() {
    const { html, t } = this.ctx;
    const { name, token, warnings } = this.made;
    return html`<div class="message good made">
      <h3 id="made" tabindex="-1">${t("The token {name} is made", { name })}</h3>
      <p>${t("Copy it now: it is shown this once.")}</p>
      <p class="token"><code>${token}</code></p>
      ${told(warnings)}
      <p class="actions">
        <button type="button" @click=${() => this.copy(token)}>${t("Copy")}</button>
        <button type="button" @click=${() => ((this.made = null), this.draw())}>${t("I have it")}</button>
        <span role="status">${this.copied}</span>
      </p>
    </div>`;
  }

  async copy(token) {
    const { t } = this.ctx;
    try {
      await navigator.clipboard.writeText(token);
      this.copied = t("Copied.");
    } catch {
      this.copied = t("The browser does not let this page copy. Mark the token and copy it yourself.");
    }
    this.draw();
  }

  async revoke(name) {
    const { ask, call, t } = this.ctx;
    const sure = await ask({
      title: t("Revoke the token {name}?", { name }),
      body: t("Whoever uses it is shut out at once. This cannot be taken back."),
      action: t("Revoke"),
      danger: true,
    });
    if (!sure) {
      return;
    }
    this.trouble = null;
    try {
      await call("POST", "/tokens/revoke", { fields: { name } });
    } catch (error) {
      if (error.name === "AbortError") {
        return;
      }
      this.trouble = error;
    }
    this.made = this.made?.name === name ? null : this.made;
    await this.readAgain();
    document.getElementById("named")?.focus();
  }
}

/** The end of a day here, in seconds since the epoch. */
const endOf = (day) => Math.floor(new Date(`${day}T23:59:59`).getTime() / 1000);

/** Today, as `<input type=date>` has it. */
const today = () => day(now());
