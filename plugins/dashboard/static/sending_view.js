// How far a file is that is being sent: bytes, rate and time left, and the way to end it.

import { bytes, duration, percent, t } from "./text.js";
import { html, nothing, render } from "./vendor/lit-html.js";

/** Seconds over which the rate is measured. */
const WINDOW = 5;
/** Milliseconds between two drawings; the browser tells of each 50 ms. */
const DRAWN_EACH = 200;

/**
 * Return the function that shows in a place how much was sent, and whether the connection is lost.
 *
 * @param {Element} place
 * @param {File} file
 * @param {() => void} stop ends the sending.
 * @returns {(sent: number, broken?: boolean) => void}
 */
export function sendingView(place, file, stop) {
  const rate = new Rate();
  let drawn = 0;
  let wasBroken = false;
  return (sent, broken = false) => {
    if (broken && !wasBroken) {
      rate.clear();
    }
    rate.note(sent);
    const now = performance.now();
    if (now - drawn >= DRAWN_EACH || broken !== wasBroken || sent === file.size) {
      drawn = now;
      render(content(file, sent, rate, broken, stop), place);
    }
    wasBroken = broken;
  };
}

/** How fast it goes, over the last seconds. */
class Rate {
  constructor() {
    this.notes = [];
  }

  clear() {
    this.notes = [];
  }

  note(sent) {
    const now = performance.now() / 1000;
    this.notes = [...this.notes.filter((each) => now - each.at < WINDOW), { at: now, sent }];
  }

  get perSecond() {
    const [first, last] = [this.notes[0], this.notes.at(-1)];
    return last.at - first.at > 0.4 ? Math.max(0, last.sent - first.sent) / (last.at - first.at) : 0;
  }
}

function content(file, sent, rate, broken, stop) {
  const speed = broken ? 0 : rate.perSecond;
  const left = speed > 0 ? (file.size - sent) / speed : null;
  return html`<section class="card" aria-labelledby="sending">
    <h2 id="sending">${t("Sending {name}", { name: file.name })}</h2>
    <p class="progress">
      <progress max=${file.size || 1} .value=${sent} aria-labelledby="sending"></progress>
      <span class="figures">${percent(file.size ? sent / file.size : 1)}</span>
    </p>
    <p class="hint steady">
      ${t("{sent} of {total}", { sent: bytes(sent), total: bytes(file.size) })}
      ${speed > 0 ? html`<span>${t("{amount} per second", { amount: bytes(speed) })}</span>` : nothing}
      ${left === null ? nothing : html`<span>${t("{time} left", { time: duration(left) })}</span>`}
    </p>
    <div role="status">
      ${broken ? html`<p class="message warn">${t("The connection was lost. Sending goes on as soon as the appliance answers.")}</p>` : nothing}
    </div>
    <p class="actions"><button type="button" @click=${stop}>${t("Cancel")}</button></p>
  </section>`;
}
