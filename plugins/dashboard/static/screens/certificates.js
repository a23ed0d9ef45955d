// The certificate that browsers see: what it says, and the way to another one, which ends with a load of the page.

import { at, Changes, onlyLooking, told } from "./changes.js";
import { now } from "../text.js";
import { Trial } from "./trial.js";

const DAY = 86400;
/** Days before its end from which a certificate wants to be replaced. */
const SOON = 30;
/** Connections that browsers keep to one host, and one more. */
const CONNECTIONS = 7;
const FILES = ["public", "private", "ca"];
const EXAMPLE = (kind) => `-----BEGIN ${kind}-----
MIIDXTCCAkWgAwIBAgIJAJC1HiIAZAiIMA0GCSqGSIb3DQEBCwUAMEUxCzAJBgNV
… many more lines …
-----END ${kind}-----`;

/** Show the screen. */
export async function page(root, ctx) {
  await new Certificates(root, ctx).open();
}

class Certificates {
  constructor(root, ctx) {
    const { t } = ctx;
    this.root = root;
    this.ctx = ctx;
    /** @type {any} */
    this.present = {};
    /** What was chosen here, and the job that puts it into use. */
    this.coming = /** @type {any} */ (null);
    this.job = "";
    this.trial = new Trial(ctx, () => this.draw(), "/certs", {
      title: t("Keep the new certificate?"),
      told: t("It is in use on trial. Unless somebody confirms it, the former one comes back."),
      restored: t("The change was taken back: the former certificate is in use again."),
      keep: t("Keep this certificate"),
    });
    this.changes = new Changes(root, ctx, "certs", {
      title: t("Change of the certificate"),
      done: t("The new certificate is in use."),
      began: (id) => this.trial.begin(id),
      ended: (record) => this.ended(record),
    });
  }

  async open() {
    const { may, live, signal } = this.ctx;
    this.may = may("POST", "/certs");
    await this.look();
    live.on("reach", () => this.coming && this.draw(), signal);
    this.draw();
    await this.changes.open();
  }

  async look() {
    const { pending, ...present } = (await this.ctx.look("/certs")) ?? {};
    this.present = pending?.certificate ?? present;
    this.trial.take(pending);
  }

  async ended(record) {
    this.trial.end(record);
    if (record.status !== "success") {
      this.coming = null;
    }
    this.draw();
    // Where the browser refuses the new certificate this is not answered, and the card says how to go on.
    await this.look();
    this.draw();
  }

  draw() {
    const { html, render, t } = this.ctx;
    render(html`
      ${this.coming && this.changes.id === this.job ? this.guide() : this.trial.view(this.pending())}
      ${Changes.card(t("Progress"))}
      <section class="card">
        <h2>${t("Certificate in use")}</h2>
        ${this.present.fingerprint ? this.facts(this.present) : html`<p class="hint">${t("The certificate in use cannot be read.")}</p>`}
      </section>
      <section class="card">
        <h2>${t("New certificate")}</h2>
        ${this.may ? this.form() : onlyLooking(this.ctx)}
      </section>`);
  }

  /** What tells the certificate on trial from others. */
  pending() {
    const { html, nothing, t } = this.ctx;
    const { names, fingerprint } = this.trial.pending?.certificate ?? {};
    return fingerprint
      ? html`<dl class="facts">
          <dt>${t("Valid for")}</dt><dd>${names?.length ? names.join(", ") : t("no name and no address")}</dd>
          <dt>${t("Fingerprint (SHA-256)")}</dt><dd class="fingerprint">${this.fingerprint(fingerprint)}</dd>
        </dl>`
      : nothing;
  }

  facts({ subject, names, issuer, "not-after": end, fingerprint }) {
    const { html, t } = this.ctx;
    return html`<dl class="facts">
      <dt>${t("Issued to")}</dt><dd>${subject ?? t("nobody by name")}</dd>
      <dt>${t("Valid for")}</dt><dd>${names?.length ? names.join(", ") : t("no name and no address")}</dd>
      <dt>${t("Issued by")}</dt><dd>${issuer === subject ? t("itself") : (issuer ?? t("nobody by name"))}</dd>
      <dt>${t("Valid until")}</dt><dd>${this.end(end)}</dd>
      <dt>${t("Fingerprint (SHA-256)")}</dt><dd class="fingerprint">${this.fingerprint(fingerprint)}</dd>
    </dl>`;
  }

  /** Pairs of digits that lines break between. */
  fingerprint(text) {
    const { html } = this.ctx;
    return String(text).split(":").map((pair, number) => (number ? html`:<wbr>${pair}` : pair));
  }

  end(seconds) {
    const { html, date, plural, t } = this.ctx;
    const days = Math.floor((seconds - now()) / DAY);
    const left = days < 0 ? t("expired") : plural(days, "{count} day left", "{count} days left");
    const kind = days < 0 ? "bad" : days < SOON ? "warn" : "good";
    return html`${date(seconds)} <span class="state ${kind}">${left}</span>`;
  }

  form() {
    const { html, submit, t } = this.ctx;
    return html`
      <p>${t("Files in the format PEM, as your certificate authority sends them. Nothing is changed until you have seen what they say.")}</p>
      <form novalidate @submit=${(event) => submit(event, (form) => this.save(form))}>
        ${this.source("public", "CERTIFICATE", t("Certificate"), t("The certificate of this appliance, and those between it and the authority."))}
        ${this.source("private", "PRIVATE KEY", t("Private key"), t("The key that the certificate was made with, without a passphrase."))}
        ${this.source("ca", "CERTIFICATE", t("Authority"), t("The certificates of the authority, where they are not in the first file."))}
        <div class="outcome"></div>
        <p class="actions"><button class="primary">${t("Check the certificate")}</button></p>
      </form>`;
  }

  /** A file or its text. */
  source(name, kind, label, hint) {
    const { html, field, t } = this.ctx;
    return html`
      ${field({ name, label, hint, type: "file", optional: name === "ca", accept: ".pem,.crt,.cer,.key,.txt" })}
      <details>
        <summary>${t("Paste it as text: {what}", { what: label })}</summary>
        ${field({ name: `${name}-text`, label: t("{what} as text", { what: label }), type: "textarea", optional: false, pointer: `/${name}/text` })}
        <details><summary>${t("How that looks")}</summary><pre class="text" tabindex="0" aria-label=${t("How that looks")}>${EXAMPLE(kind)}</pre></details>
      </details>`;
  }

  /** Return what was chosen or pasted. */
  given(form) {
    const { t } = this.ctx;
    const fields = {};
    for (const name of FILES) {
      const file = form.elements[name].files[0];
      const text = form.elements[`${name}-text`].value.trim();
      if (file && text) {
        throw at(`/${name}/text`, t("Choose a file or paste its text, and not both."));
      }
      if (!file && !text && name !== "ca") {
        throw at(`/${name}`, t("Choose a file, or paste its text."));
      }
      fields[name] = file ?? (text ? new Blob([`${text}\n`], { type: "text/plain" }) : undefined);
    }
    return fields;
  }

  async save(form) {
    const { ask, call, t } = this.ctx;
    const fields = this.given(form);
    const preview = await call("POST", "/certs", { query: { "dry-run": 1 }, fields });
    const warnings = this.warnings(preview);
    const sure = await ask({
      title: warnings.length ? t("Use this certificate in spite of the warnings?") : t("Use this certificate?"),
      body: this.preview(preview, warnings),
      action: t("Use it"),
      danger: warnings.length > 0,
    });
    if (sure) {
      const { job } = await call("POST", "/certs", { query: this.trial.query, fields });
      form.reset();
      this.trial.mine(job);
      Object.assign(this, { coming: preview, job });
      this.draw();
      this.changes.lead(job, form);
    }
  }

  /** What the appliance warns of, and what only this page knows: the address that it was opened at. */
  warnings({ warnings = [], names = [] }) {
    const { t } = this.ctx;
    const host = location.hostname.replace(/^\[|\]$/g, "");
    if (names.length === 0) {
      return warnings.length ? warnings : [t("It holds no name and no address: browsers refuse it.")];
    }
    return names.some((name) => covers(name, host))
      ? warnings
      : [...warnings, t("It is not for {host}, where you opened this page: browsers warn of that.", { host })];
  }

  preview(preview, warnings) {
    const { html, nothing, t } = this.ctx;
    return html`
      ${told(warnings)}
      ${this.facts(preview)}
      <p>${t("Afterwards your browser may warn you once more, as it does not know this certificate yet. Note the fingerprint to compare it then.")}</p>
      ${this.trial.isOffered ? html`<p>${this.trial.promise()}</p>` : nothing}`;
  }

  /**
   * How it goes on. The page may hear nothing any more once the certificate changed: a browser that does not know the
   * new one refuses each request without saying why.
   */
  guide() {
    const { html, live, nothing, t } = this.ctx;
    const isInUse = this.trial.pending || this.trial.outcome || !live.state.reached;
    if (!isInUse) {
      return nothing;
    }
    return html`<section class="card" data-guide>
      <h2>${t("Load the page with the new certificate")}</h2>
      ${live.state.reached ? nothing : html`<p>${t("The connection with the former certificate has ended. That is what a new certificate does.")}</p>`}
      ${this.trial.pending ? html`<p>${t("The former certificate comes back unless you confirm the new one after that, within:")}</p>${this.trial.countdown()}` : nothing}
      <ol class="steps">
        <li>${t("Load the page again. Your browser may warn, as it does not know the new certificate yet.")}</li>
        <li>${t("Look at the certificate that the browser shows, and go on only if its SHA-256 fingerprint is this one:")}
          <p class="fingerprint">${this.fingerprint(this.coming.fingerprint)}</p></li>
      </ol>
      <p class="actions"><button type="button" class="primary" @click=${() => this.reload()}>${t("Load the page again")}</button></p>
    </section>`;
  }

  async reload() {
    await this.ctx.handOver();
    await useUpConnections();
    location.reload();
  }
}

/**
 * Use up the connections that were made with the former certificate, each of which the appliance ends with its next
 * answer: a page loaded over one of them would show no warning, and its scripts would be refused without a word.
 */
async function useUpConnections() {
  try {
    for (let connection = 0; connection < CONNECTIONS; connection += 1) {
      await fetch("/dashboard/state.json", { cache: "no-store" });
    }
  } catch {
    // The browser met the new certificate and does not know it: the load of the page warns of it.
  }
}

/** Return whether a name of a certificate is that of a host; https://www.rfc-editor.org/rfc/rfc9525#section-6.3. */
function covers(name, host) {
  const [wanted, given] = [name.toLowerCase(), host.toLowerCase()];
  return wanted === given || (wanted.startsWith("*.") && given.includes(".") && given.slice(given.indexOf(".")) === wanted.slice(1));
}
