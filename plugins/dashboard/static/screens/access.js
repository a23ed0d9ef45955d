// Who may administer the appliance: the administrator's token, and named tokens of fewer rights.

import { UnreachableError } from "../api.js";
import * as key from "../key.js";
import { chosenToken } from "../secret.js";
import { at } from "./changes.js";
import { NamedTokens } from "./named_tokens.js";

/** Show the screen. */
export async function page(root, ctx) {
  await new Access(root, ctx).open();
}

class Access {
  constructor(root, ctx) {
    this.root = root;
    this.ctx = ctx;
    this.isNew = false;
    this.tokens = new NamedTokens(ctx, () => this.draw());
  }

  async open() {
    const { may } = this.ctx;
    this.isServed = may("GET", "/tokens");
    if (this.isServed) {
      await this.tokens.read();
    }
    this.draw();
  }

  draw() {
    const { html, message, nothing, render, submit, t } = this.ctx;
    render(html`
      <section class="card">
        <h2>${t("API token of the administrator")}</h2>
        <p>${t("It opens everything, here and for programs. Programs that use the present one need the new one from then on.")}</p>
        ${this.isNew ? message("good", t("The new token is in force. You stay signed in.")) : nothing}
        <form @submit=${(event) => submit(event, (form) => this.change(form))}>
          ${this.secret("newtoken", t("New API token"), t("1 to 255 characters without spaces. Keep it in a safe place: it cannot be shown again."))}
          ${this.secret("again", t("New API token, once more"), "")}
          <div class="outcome"></div>
          <p class="actions"><button class="primary">${t("Change the API token")}</button></p>
        </form>
      </section>
      ${this.isServed ? this.tokens.view() : nothing}`);
  }

  secret(name, label, hint) {
    return this.ctx.field({ name, label, hint, type: "password", required: true, maxlength: 255, autocomplete: "new-password" });
  }

  async change(form) {
    const token = chosenToken(form, (name, message) => at(`/${name}`, message));
    this.isNew = false;
    const fresh = await key.fromToken(token);
    await key.replace(fresh, (former) => this.send(token, former, fresh));
    form.reset();
    this.isNew = true;
    this.draw();
  }

  /** Change the token; where no answer comes, find out which of the two is in force. */
  async send(newtoken, former, fresh) {
    const { call } = this.ctx;
    try {
      await call("POST", "/setup", { fields: { newtoken }, signer: former });
    } catch (error) {
      if (!(error instanceof UnreachableError)) {
        throw error;
      }
      await call("GET", "/session", { signer: fresh }).catch(() => {
        throw error;
      });
    }
  }
}
