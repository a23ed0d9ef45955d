// Files that were sent in pieces and are not used yet, or never will be: what they are, and the way to remove them.

import { TUS } from "../sending.js";

const PATH = "/uploads";

export class Uploads {
  constructor(ctx) {
    const { live, signal } = ctx;
    this.ctx = ctx;
    this.draw = () => {};
    /** @type {any[] | null} */
    this.items = null;
    /** Which question is the last: answers may overtake each other. */
    this.turn = 0;
    this.trouble = null;
    live.on("job", (job) => job.status === "running" || this.again(), signal); // which may have used one
    live.on("audit", (line) => String(line.target).includes(PATH) && this.again(), signal);
    live.on("state", () => this.again(), signal);
  }

  /** Read them for nobody who waits; who leaves the screen ends that. */
  again() {
    this.read().catch(this.ctx.report);
  }

  async read() {
    const turn = (this.turn += 1);
    const shown = await this.ctx.call("GET", PATH).then(({ uploads: items }) => ({ items, trouble: null }), (trouble) => ({ trouble }));
    this.ctx.signal.throwIfAborted();
    if (turn === this.turn) {
      Object.assign(this, shown);
      this.draw();
    }
  }

  view() {
    const { html, nothing, t, alert } = this.ctx;
    return html`<section class="card" aria-labelledby="uploads">
      <h2 id="uploads" tabindex="-1">${t("Sent files")}</h2>
      ${this.trouble ? alert(this.trouble) : nothing}
      ${this.items?.length
        ? html`<p class="hint">${t("They were sent here, by you or by a program with your token, and are not used yet. They are removed by themselves.")}</p>
            <ul class="services">${this.items.map((each) => this.item(each))}</ul>`
        : this.items && html`<p class="hint">${t("No file waits here for its use.")}</p>`}
    </section>`;
  }

  item(upload) {
    const { html, nothing, t, bytes, dateTime, may } = this.ctx;
    const { offset, length } = upload;
    const name = nameOf(upload.metadata) || t("File without a name");
    const state = offset < length
      ? t("{sent} of {size} have arrived.", { sent: bytes(offset), size: bytes(length) })
      : t("All of it has arrived: {size}.", { size: bytes(length) });
    return html`<li data-upload=${upload.id}>
      <div>${name}<p class="hint">${state} ${t("Kept until {when}.", { when: dateTime(upload.expires) })}</p></div>
      ${may("DELETE", `${PATH}/${upload.id}`)
        ? html`<button type="button" aria-label=${t("Remove: {name}", { name })} @click=${() => this.remove(upload, name)}>${t("Remove")}</button>`
        : nothing}
    </li>`;
  }

  async remove({ id }, name) {
    const { ask, call, signal, t } = this.ctx;
    const body = t("If it is being sent or used at the moment, that ends.");
    if (await ask({ title: t("Remove {name}?", { name }), body, action: t("Remove"), danger: true })) {
      try {
        await call("DELETE", `${PATH}/${id}`, { headers: TUS });
        await this.read();
      } catch (error) {
        signal.throwIfAborted();
        await this.read(); // it may be gone already
        this.trouble = error.status === 404 ? null : error;
        this.draw();
      }
      document.getElementById("uploads")?.focus();
    }
  }
}

/** Return the name of a file out of the header Upload-Metadata of tus: keys, each with Base64. */
function nameOf(metadata) {
  const [, encoded] = /(?:^|,)\s*filename ([A-Za-z0-9+/=]+)/.exec(metadata) ?? [];
  try {
    return encoded ? new TextDecoder().decode(Uint8Array.from(atob(encoded), (each) => each.charCodeAt(0))) : "";
  } catch {
    return "";
  }
}
