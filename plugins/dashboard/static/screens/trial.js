// Changes on trial: they come back unless somebody who reaches the appliance with them says that they shall stay.

import * as notes from "../notes.js";
import { takes } from "./description.js";

/** Seconds to get in again, and to say that all is well. */
export const SECONDS = 180;
const LOOK_EACH = 2000;

/** A change on trial, from the request to its confirmation or to its end. */
export class Trial {
  /**
   * @param {any} ctx
   * @param {() => void} draw draws the screen.
   * @param {string} path of what is changed.
   * @param {{title: string, told: string, restored: string, keep: string}} words
   */
  constructor(ctx, draw, path, words) {
    const isOffered = takes(ctx.document, "POST", path, "confirm");
    this.ctx = ctx;
    this.draw = draw;
    this.path = path;
    this.words = words;
    this.isOffered = isOffered;
    this.pending = /** @type {any} */ (null);
    this.until = 0;
    this.id = "";
    this.outcome = /** @type {any} */ (null);
    this.trouble = /** @type {any} */ (null);
    /** Whether the appliance was asked to keep it and has not answered. */
    this.isKeeping = false;
    ctx.live.every(1000, () => this.pending && draw(), ctx.signal);
  }

  /** What asks for a trial, in the query of the change. */
  get query() {
    return this.isOffered ? { confirm: SECONDS } : {};
  }

  /** Take what the appliance shows of it. */
  take(pending) {
    this.pending = pending ?? null;
    this.until = performance.now() + (pending?.["seconds-left"] ?? 0) * 1000;
  }

  /** Remember, over a load of the page too, that a job was started here. */
  mine(id) {
    notes.keep(`trial${this.path}`, id);
  }

  /** Whether the change on trial is known to be none that this page asked for. */
  get isOfOthers() {
    return this.id !== "" && notes.read(`trial${this.path}`) !== this.id;
  }

  /** A job began; ask until it says that it waits. */
  begin(id) {
    Object.assign(this, { id, outcome: null, trouble: null });
    if (this.isOffered) {
      this.wait(id).catch(this.ctx.report);
    }
  }

  async wait(id) {
    const { look, live, signal, sleep } = this.ctx;
    while (this.id === id && this.pending === null && this.outcome === null) {
      await sleep(LOOK_EACH);
      signal.throwIfAborted();
      const job = live.state.jobs.get(id);
      if (document.visibilityState === "visible" && (job === undefined || job.status === "running")) {
        const shown = await look(this.path).catch((error) => this.passing(error));
        const waits = shown?.pending && this.id === id && this.outcome === null;
        if (waits) {
          this.take(shown.pending);
        }
        this.draw();
        if (waits) {
          this.show();
        }
      }
    }
  }

  /** Lead to the question: whoever does not see it does not answer in time. */
  show() {
    /** @type {HTMLElement | null} */
    const title = document.querySelector("[data-trial] h2");
    title?.focus();
    title?.scrollIntoView({ block: "center" });
  }

  passing(error) {
    if (error.name === "AbortError") {
      throw error;
    }
  }

  end(record) {
    Object.assign(this, { pending: null, outcome: record });
  }

  async keep() {
    if (this.isKeeping) {
      return;
    }
    Object.assign(this, { isKeeping: true, trouble: null });
    try {
      await this.ctx.call("POST", `${this.path}/confirm`);
      this.pending = null;
    } catch (error) {
      this.trouble = error;
    }
    this.isKeeping = false;
    this.draw();
  }

  /** How many seconds are left. */
  get left() {
    return Math.max(0, Math.round((this.until - performance.now()) / 1000));
  }

  /** Whether the change was put back, as nobody confirmed it or it failed. */
  get isRestored() {
    return this.outcome?.["error-code"] === "E2001";
  }

  /** The question whether to keep the change, or that it was put back; `more` is what the screen says beside it. */
  view(more) {
    const { html, nothing, alert, may, message, t } = this.ctx;
    if (!this.pending) {
      return this.isRestored ? message("warn", this.words.restored) : nothing;
    }
    return html`<section class="card" data-trial>
      <h2 tabindex="-1">${this.words.title}</h2>
      <p>${this.words.told}</p>
      ${this.isOfOthers ? message("warn", t("Somebody else changed it, or you did so on another page. Look whether it is what you expect.")) : nothing}
      ${this.countdown()}
      ${more}
      ${this.trouble ? alert(this.trouble) : nothing}
      ${may("POST", `${this.path}/confirm`)
        ? html`<p class="actions"><button type="button" class="primary" @click=${() => this.keep()}>${this.words.keep}</button></p>`
        : nothing}
    </section>`;
  }

  countdown() {
    const { html, duration, t } = this.ctx;
    return html`<p class="countdown" role="timer" aria-label=${t("Time left")}>${duration(this.left)}</p>`;
  }

  /** What is said before a change that can be confirmed. */
  promise() {
    return this.ctx.plural(SECONDS / 60, "If you do not confirm the change within {count} minute, everything comes back as it was by itself.", "If you do not confirm the change within {count} minutes, everything comes back as it was by itself.");
  }
}
