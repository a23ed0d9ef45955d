// Sending big files: in pieces that go on after a broken connection, with progress; https://tus.io/protocols/resumable-upload.

import * as api from "./api.js";
import { bytes, duration, percent, t } from "./text.js";
import { html, nothing, render } from "./vendor/lit-html.js";

const TUS = { "Tus-Resumable": "1.0.0" };
const PAUSE = 2_000;
/** Attempts without a byte of progress after which sending gives up. */
const TRIES = 30;
/** Seconds over which the rate is measured. */
const WINDOW = 5;

/**
 * Send a file, and show in a place of the screen how far it is, with a button to end it.
 *
 * @param {Element} place
 * @param {File} file
 * @param {AbortSignal} signal
 * @returns {Promise<{field: string, discard: () => Promise<void>}>} what stands for the file in a form.
 * @throws {DOMException} AbortError: somebody ended it, and the appliance keeps nothing of it.
 */
export async function sendFile(place, file, signal) {
  const ending = new AbortController();
  const ended = AbortSignal.any([signal, ending.signal]);
  const rate = new Rate();
  let broken = false;
  const draw = (sent) => {
    rate.note(sent);
    render(view(file, sent, rate, broken, () => ending.abort()), place);
  };
  draw(0);
  const path = await create(file, ended);
  const discard = () => api.send("DELETE", path, { headers: TUS }).then(() => undefined, () => undefined);
  try {
    await sendAll(path, file, draw, (now) => (broken = now), ended);
    return { field: `upload:${path.split("/").at(-1)}`, discard };
  } catch (error) {
    await discard();
    throw error;
  } finally {
    render(nothing, place);
  }
}

async function create(file, signal) {
  const name = btoa(String.fromCharCode(...new TextEncoder().encode(file.name)));
  const headers = { ...TUS, "Upload-Length": String(file.size), "Upload-Metadata": `filename ${name}` };
  const response = await api.send("POST", "/uploads", { headers, signal });
  return response.headers.get("Location").slice(api.PREFIX.length);
}

async function sendAll(path, file, draw, tellBroken, signal) {
  let offset = 0;
  for (let left = TRIES; offset < file.size; left -= 1) {
    try {
      await api.upload("PATCH", path, file.slice(offset), (sent) => draw(offset + sent), {
        headers: { ...TUS, "Upload-Offset": String(offset), "Content-Type": "application/offset+octet-stream" },
        signal,
      });
      return;
    } catch (error) {
      const lasting = error instanceof api.ApiError && ![408, 409, 429].includes(error.status) && error.status < 500;
      if (signal.aborted || lasting || left <= 0) {
        throw error;
      }
    }
    tellBroken(true);
    draw(offset);
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
    const known = await present(path, signal);
    left = known > offset ? TRIES : left;
    offset = known ?? offset;
    tellBroken(known === null);
  }
}

/** Return how many bytes the appliance has; null if it does not answer. */
async function present(path, signal) {
  try {
    const response = await api.send("GET", path, { headers: TUS, signal });
    return Number(response.headers.get("Upload-Offset"));
  } catch (error) {
    if (error instanceof api.UnreachableError || error.status === 429 || error.status >= 500) {
      return null;
    }
    throw error;
  }
}

/** How fast it goes, over the last seconds. */
class Rate {
  constructor() {
    this.notes = [];
  }

  note(sent) {
    const now = performance.now() / 1000;
    this.notes = [...this.notes.filter((each) => now - each.at < WINDOW), { at: now, sent }];
  }

  get perSecond() {
    const [first, last] = [this.notes[0], this.notes.at(-1)];
    return last.at > first.at ? Math.max(0, last.sent - first.sent) / (last.at - first.at) : 0;
  }
}

function view(file, sent, rate, broken, stop) {
  const left = rate.perSecond > 0 ? (file.size - sent) / rate.perSecond : null;
  const figures = t("{sent} of {total}", { sent: bytes(sent), total: bytes(file.size) });
  return html`<section class="job" aria-labelledby="sending">
    <h3 id="sending">${t("Sending {name}", { name: file.name })}</h3>
    <p class="progress">
      <progress max=${file.size || 1} .value=${sent} aria-labelledby="sending"></progress>
      <span class="figures">${percent(file.size ? sent / file.size : 1)}</span>
    </p>
    <p class="hint">
      ${figures}${rate.perSecond ? html` · ${t("{amount} per second", { amount: bytes(rate.perSecond) })}` : nothing}
      ${left === null ? nothing : html` · ${t("{time} left", { time: duration(left) })}`}
    </p>
    ${broken ? html`<p role="status">${t("The connection was lost. Sending goes on as soon as the appliance answers.")}</p>` : nothing}
    <p class="actions"><button type="button" @click=${stop}>${t("Cancel")}</button></p>
  </section>`;
}
