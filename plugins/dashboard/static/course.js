// The frame of a job on a screen: its heading, what is said while the appliance is away, and its progress.

import { phrase, sleep, t } from "./text.js";
import { restartOf } from "./widgets.js";
import { html, nothing, render } from "./vendor/lit-html.js";

const POLL = { visible: 2_000, hidden: 30_000 };
const AWAY = phrase("The appliance does not answer just now. This page goes on by itself.");

export class Course {
  /**
   * @param {any} ctx of the screen.
   * @param {Element} place
   * @param {{running: string, ended: string, away?: string}} words headings, and what is said while the appliance is away.
   */
  constructor(ctx, place, words) {
    this.ctx = ctx;
    this.place = place;
    this.words = words;
    this.running = false;
    ctx.live.on("reach", () => this.running && this.draw(), ctx.signal);
  }

  /** Show a job to its end, and return its record. */
  async follow({ id, status }, options) {
    this.begin(status === "running");
    const record = await this.ctx.job(this.place.querySelector(".course"), id, options);
    this.end();
    return record;
  }

  /** Show how something goes of which this credential may see no record, by what a path shows of it. */
  async watch(path, titled, cancel) {
    const title = typeof titled === "function" ? titled() : titled;
    this.begin(true);
    const place = this.place.querySelector(".course");
    for (;;) {
      const status = await this.ctx.look(path).catch((error) => {
        if (error.name !== "UnreachableError") {
          throw error;
        }
        return { status: "running" };
      });
      render(statusView(this.ctx, status, title, cancel), place);
      if (status?.status !== "running") {
        this.end();
        return status;
      }
      await sleep(POLL[document.visibilityState] ?? POLL.hidden);
      this.ctx.signal.throwIfAborted();
    }
  }

  begin(running) {
    this.running = running;
    this.draw();
  }

  end() {
    this.running = false;
    this.draw();
  }

  draw() {
    const away = this.running && !this.ctx.live.state.reached;
    render(html`<section class="card" aria-labelledby="course">
      <h2 id="course">${this.running ? this.words.running : this.words.ended}</h2>
      <div role="status">${away ? html`<p class="message warn">${this.words.away ?? t(AWAY)}</p>` : nothing}</div>
      <div class="course"></div>
    </section>`, /** @type {HTMLElement} */ (this.place));
  }
}

function statusView({ alert, logView, percent, stateOf }, status, title, cancel) {
  const running = status?.status === "running";
  return html`<section class="job" aria-labelledby="status">
    <h3 id="status">${title} ${status ? stateOf(status.status) : nothing}</h3>
    ${status ? restartOf(status) : nothing}
    ${running
      ? html`<p class="progress">
          <progress max="100" .value=${status.percentage ?? nothing} aria-labelledby="status"></progress>
          ${status.percentage === undefined ? nothing : html`<span class="figures">${percent(status.percentage / 100)}</span>`}
        </p>
        ${cancel ? html`<p class="actions"><button type="button" @click=${cancel}>${t("Cancel")}</button></p>` : nothing}`
      : nothing}
    ${status?.status === "failed" ? alert({ message: status["error-message"] ?? t("It failed without a reason."), code: status["error-code"] }) : nothing}
    ${logView(status?.log, title)}
  </section>`;
}

/** A card that says that the appliance looks at what it was sent, with the way to end that. */
export const checking = (title, text, cancel) => html`<section class="card" aria-labelledby="checking">
  <h2 id="checking">${title}</h2>
  <p role="status">${text}</p>
  <p class="progress"><progress aria-labelledby="checking"></progress></p>
  <p class="actions"><button type="button" @click=${cancel}>${t("Cancel")}</button></p>
</section>`;

/** Return the bytes of a size as `du -h` writes it, such as 28K; not a number where it is none. */
export function fromHuman(size) {
  const [, number, unit] = /^([0-9.]+)([KMGTPE]?)$/.exec(size ?? "") ?? [];
  return Number(number) * 1024 ** (unit ? "KMGTPE".indexOf(unit) + 1 : 0);
}
