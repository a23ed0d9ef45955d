// The card of a screen that shows how its change goes: the running job of a type, whoever started it, or a failed one.

import { said } from "../sentences.js";
import { html, nothing } from "../vendor/lit-html.js";

/** Follows the jobs of one type in the element `[data-changes]` of a screen. */
export class Changes {
  /**
   * @param {Element} root of the screen.
   * @param {any} ctx
   * @param {string} type of the jobs.
   * @param {{title: string, done: string, began?: (id: string) => void, ended?: (record: any) => Promise<void>}} options
   */
  constructor(root, ctx, type, options) {
    this.root = root;
    this.ctx = ctx;
    this.type = type;
    this.options = options;
    this.id = "";
  }

  /** What the screen draws where the card is to be. */
  static card(title) {
    return html`<section class="card" data-changes hidden>
      <h2 tabindex="-1">${title}</h2>
      <div data-job></div>
    </section>`;
  }

  /** Show the job that runs or failed last, and from now on those that begin. */
  async open() {
    const { live, signal } = this.ctx;
    live.on("job", (job) => this.notice(job), signal);
    const last = await this.newest();
    if (last && (last.status === "running" || last.status === "failed")) {
      await this.follow(last.id, false);
    }
  }

  /** Return the newest job of the type; null where there is none, or where the credential may not see jobs. */
  async newest() {
    const { call, may } = this.ctx;
    if (!may("GET", "/jobs")) {
      return null;
    }
    const { jobs } = await call("GET", "/jobs", { query: { type: this.type, limit: 1 } });
    return jobs[0] ?? null;
  }

  /** A job that somebody else started meanwhile. */
  notice(job) {
    if (job.type === this.type && job.status === "running" && this.id < job.id) {
      this.follow(job.id, false).catch(this.ctx.report);
    }
  }

  /** Show a job that a form started, which can be sent again meanwhile: the appliance decides what may run at once. */
  lead(id, form) {
    this.follow(id).catch((error) => error.name === "AbortError" || this.ctx.showError(form, error));
  }

  /**
   * Show a job to its end.
   *
   * @param {string} id
   * @param {boolean} [moves] whether the focus goes there, as after a click that started it.
   */
  async follow(id, moves = true) {
    const card = /** @type {HTMLElement} */ (this.root.querySelector("[data-changes]"));
    card.hidden = false;
    if (moves) { // also where the job was told of before the answer of what started it
      card.querySelector("h2").focus();
      card.scrollIntoView({ block: "nearest" });
    }
    if (this.id === id) {
      return;
    }
    this.id = id;
    const place = document.createElement("div");
    card.querySelector("[data-job]").replaceChildren(place);
    const { title, done, began, ended } = this.options;
    began?.(id);
    const record = await this.ctx.job(place, id, { title, done });
    await ended?.(record);
  }
}

/** Take the names of fields that were saved, and not changed since they were sent, from those that somebody changed. */
export function saved(typed, form, sent) {
  for (const name of typed) {
    if (form.elements[name].value === sent.get(name)) {
      typed.delete(name);
    }
  }
}

/** An error at a field of a form, which is named by a JSON pointer. */
export const at = (field, message) => Object.assign(new Error(message), { field });

/** A list of what was told about a change; nothing where there is nothing to tell. */
export const told = (sentences) =>
  sentences?.length
    ? html`<ul class="message warn told">${sentences.map((each) => html`<li>${said(each).text}</li>`)}</ul>`
    : nothing;

/** What a credential of few rights reads in place of buttons. */
export const onlyLooking = ({ message, t }) => message("info", t("This token may look at these settings, and not change them."));
