// Parts that screens share: fields, messages, dialogs, and the view of a job.

import * as api from "./api.js";
import { ask, declined } from "./dialogs.js";
import * as live from "./live.js";
import { follow } from "./jobs.js";
import { secretInput } from "./secret.js";
import { said } from "./sentences.js";
import { dateTime, duration, now, percent, phrase, readableLog, t } from "./text.js";
import { html, nothing, render } from "./vendor/lit-html.js";

export { ask };

/** Seconds between two announcements of a job's progress to a screen reader. */
const ANNOUNCED_EACH = 5;

/**
 * A labelled field. The place of its message is kept, so that nothing moves when one appears.
 *
 * @param {{name: string, label: string, hint?: string, type?: string, value?: any, required?: boolean, options?: any[],
 *   pointer?: string, optional?: boolean, [attribute: string]: any}} options `options` are `{value, label}` of a choice; `pointer` is the
 *   JSON pointer that errors name it by, `/name` if there is none; `optional` whether the label says that it is.
 */
export function field({ name, label, hint = "", type = "text", value = "", required = false, options, pointer = `/${name}`, optional = !required, ...more }) {
  const id = `field-${name}`;
  const described = `${id}-hint ${id}-problem`;
  const input = options
    ? html`<select id=${id} name=${name} ?required=${required} data-pointer=${pointer} aria-describedby=${described}
        @change=${more.change}>
        ${options.map((each) => html`<option value=${each.value} ?selected=${each.value === value}>${each.label}</option>`)}
      </select>`
    : type === "textarea"
      ? html`<textarea id=${id} name=${name} rows=${more.rows ?? 6} spellcheck="false" ?required=${required}
          data-pointer=${pointer} aria-describedby=${described} .value=${value}></textarea>`
      : type === "password"
        ? secretInput({ id, name, required, maxlength: more.maxlength, autocomplete: more.autocomplete, described, pointer, value })
        : html`<input id=${id} name=${name} type=${type} ?required=${required} data-pointer=${pointer} spellcheck="false"
          autocomplete=${more.autocomplete ?? "off"} aria-describedby=${described} inputmode=${more.inputmode ?? nothing}
          min=${more.min ?? nothing} max=${more.max ?? nothing} maxlength=${more.maxlength ?? nothing}
          accept=${more.accept ?? nothing} @change=${type === "file" ? chosen : more.change} .value=${type === "file" ? nothing : value}>`;
  return html`<p class="field">
    <label for=${id}>${label}${optional ? html` <span class="optional">${t("(optional)")}</span>` : nothing}</label>
    ${input}
    <span class="hint" id="${id}-hint">${hint}</span>
    <span class="problem" id="${id}-problem"></span>
  </p>`;
}

/** What was said of another file is not true of this one. */
const chosen = (event) => clearErrors(event.target.form);

/** Show an error: at the field that it names, otherwise above the buttons. */
export function showError(form, error) {
  clearErrors(form);
  keep(form);
  const input = error.field ? nearest(form, error.field) : null;
  if (input) {
    input.setAttribute("aria-invalid", "true");
    const problem = form.querySelector(`#${CSS.escape(input.id)}-problem`);
    const { text, lang = "", meaning } = words(error, { atField: true });
    problem.textContent = meaning || text;
    problem.lang = meaning ? "" : lang;
    input.closest("details")?.setAttribute("open", "");
    input.focus();
    return;
  }
  const place = form.querySelector(".outcome");
  render(alert(error), place);
  place.scrollIntoView({ block: "nearest" });
  place.tabIndex = -1;
  place.focus();
}

/** Return the field that a JSON pointer names, or the nearest one above. */
function nearest(form, pointer) {
  for (let path = pointer; path; path = path.slice(0, path.lastIndexOf("/"))) {
    const input = form.querySelector(`[data-pointer="${CSS.escape(path)}"]`);
    if (input) {
      return input;
    }
  }
  return null;
}

/** Remove what `showError` showed. */
export function clearErrors(form) {
  form.querySelectorAll("[aria-invalid]").forEach((each) => each.removeAttribute("aria-invalid"));
  form.querySelectorAll(".problem").forEach((each) => (each.textContent = ""));
  const place = form.querySelector(".outcome");
  if (place) {
    render(nothing, place);
  }
}

/** What went wrong, in the words of the appliance, with its code for the support. */
export const alert = (error) => html`
  <div class="message bad" role="alert">
    ${error instanceof api.UnreachableError ? html`<p>${t("The appliance does not answer. Please try again.")}</p>` : sentence(error)}
    ${error.code ? html`<p class="code">${t("Error code for the support: {code}", { code: error.code })}</p>` : nothing}
  </div>`;

/** What an error says: one that is not the appliance's is in the language of the page already. */
const words = (error, options) =>
  error instanceof Error && !(error instanceof api.ApiError && error.isTold) ? { text: error.message, lang: undefined, meaning: "" } : said(error.message, options);

function sentence(error) {
  const { text, lang, meaning } = words(error, { code: error.code });
  return html`${meaning ? html`<p>${meaning}</p>` : nothing}<p lang=${lang ?? nothing}>${text}</p>`;
}

/** A sentence that stays: `kind` is good, bad, warn or info. */
export const message = (kind, text) => html`<div class="message ${kind}" role=${kind === "bad" ? "alert" : "status"}><p>${text}</p></div>`;

/** Say that what is in a form was sent and not taken. */
const keep = (form) => form.dispatchEvent(new CustomEvent("unsaved", { bubbles: true }));

/**
 * Run what a form does, once at a time; what fails is shown in the form, whose values stay.
 *
 * @param {SubmitEvent} event
 * @param {(form: HTMLFormElement) => Promise<void>} action
 */
export async function submit(event, action) {
  event.preventDefault();
  const form = /** @type {HTMLFormElement} */ (event.currentTarget);
  if (form.getAttribute("aria-busy") === "true") {
    return;
  }
  form.setAttribute("aria-busy", "true");
  clearErrors(form);
  const before = declined;
  try {
    await action(form);
    if (declined !== before) {
      keep(form);
    }
  } catch (error) {
    if (error.name !== "AbortError") {
      showError(form, error);
    }
  } finally {
    form.removeAttribute("aria-busy");
  }
}

const STATES = {
  running: phrase("Running"),
  success: phrase("Done"),
  failed: phrase("Failed"),
  cancelled: phrase("Cancelled"),
};
const STATE_KINDS = { running: "info", success: "good", failed: "bad", cancelled: "warn" };

/** The name of a job's state, beside a mark that is not colour alone. */
export const stateOf = (status) => html`<span class="state ${STATE_KINDS[status] ?? "info"}">${t(STATES[status] ?? status)}</span>`;

const RESTARTS = new Set([phrase("Restarting the appliance to try the update"), phrase("Restarting the appliance to go back to the former version")]);

/** Why a job waits for a restart of the appliance, of which it comes back. */
export function restartOf({ restarting }) {
  return restarting ? html`<p class="message info" role="status">${RESTARTS.has(restarting) ? t(restarting) : restarting} …</p>` : nothing;
}

/**
 * Follow a job in a place of the screen: progress, time, log and the way to cancel it.
 *
 * @param {Element} place
 * @param {string} id
 * @param {any} options `{title, signal, done, may}`: `title` may be a function, for one that changes; `done` says what
 *   a success means; `may` whether the credential may cancel jobs.
 * @returns {Promise<any>} the record of the finished job.
 */
export async function watchJob(place, id, options) {
  let shown = { record: live.state.jobs.get(id) ?? { id, status: "running", percentage: 0, started: now() }, log: "" };
  let trouble = null;
  let announced = { at: 0, text: "" };
  const cancel = async () => {
    try {
      await api.call("POST", `/jobs/${id}/cancel`, { signal: options.signal });
    } catch (error) {
      trouble = error;
    }
    draw();
  };
  const draw = () => {
    announced = announcement(shown.record, announced);
    const title = typeof options.title === "function" ? options.title() : options.title;
    render(jobView(shown, { ...options, title, cancel, trouble, announced: announced.text }), place);
    const log = place.querySelector("pre.log");
    if (log && !log.hasAttribute("data-held")) {
      log.scrollTop = log.scrollHeight;
    }
  };
  const clock = setInterval(draw, 1000);
  live.on("reach", draw, options.signal);
  options.signal.addEventListener("abort", () => clearInterval(clock), { once: true });
  draw();
  try {
    return await follow(id, (job) => ((shown = job), draw()), options.signal);
  } finally {
    clearInterval(clock);
    if (!options.signal.aborted) {
      draw();
    }
  }
}

/** Wait for the end of a job that nothing is shown of; one that fails is an ApiError. */
export async function ended(id, signal) {
  const record = await follow(id, () => {}, signal);
  if (record.status !== "success") {
    throw new api.ApiError(0, record["error-message"] ?? t("It failed without a reason."), record["error-code"]);
  }
}

/** What is said to screen readers: not more often than every five seconds, and always how it ended. */
function announcement(record, last) {
  if (record.status !== "running") {
    return { at: 0, text: "" };
  }
  if (Date.now() / 1000 - last.at < ANNOUNCED_EACH) {
    return last;
  }
  return { at: Date.now() / 1000, text: t("{percent} done", { percent: percent(record.percentage / 100) }) };
}

function jobView({ record, log }, { title, done, may = true, cancel, trouble, announced }) {
  const running = record.status === "running";
  const elapsed = (running ? now() : record.finished) - record.started;
  return html`<section class="job" aria-labelledby="job-${record.id}">
    <h3 id="job-${record.id}">${title} ${stateOf(record.status)}</h3>
    ${restartOf(record)}
    ${running
      ? html`<p class="progress">
          <progress max="100" .value=${record.percentage} aria-labelledby="job-${record.id}"></progress>
          <span class="figures">${percent(record.percentage / 100)} · ${duration(elapsed)}</span>
        </p>`
      : html`<p class="hint">${t("Finished {when}, after {duration}", { when: dateTime(record.finished), duration: duration(elapsed) })}</p>`}
    <p class="unseen" role="status">${announced}</p>
    ${record.status === "success" && done ? message("good", done) : nothing}
    ${record.status === "failed" ? alert({ message: record["error-message"] ?? t("It failed without a reason."), code: record["error-code"] }) : nothing}
    ${record.status === "cancelled" ? message("warn", t("It was cancelled.")) : nothing}
    ${trouble ? alert(trouble) : nothing}
    ${running && record.cancellable && may ? html`<p class="actions"><button type="button" @click=${cancel}>${t("Cancel")}</button></p>` : nothing}
    ${logView(log, title)}
  </section>`;
}

/** Lines of a log, which stay where the reader scrolled them. */
export const logView = (log, title) =>
  log
    ? html`<pre class="log" tabindex="0" aria-label=${t("Log of: {title}", { title })}
        @scroll=${(event) => hold(event.currentTarget)}>${readableLog(log)}</pre>`
    : nothing;

function hold(log) {
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 8;
  log.toggleAttribute("data-held", !atEnd);
}

/** The newest job of a type, of which its screen shows how it goes or went. */
export function lastJob(type) {
  return [...live.state.jobs.values()].filter((job) => job.type === type).sort((a, b) => (a.id < b.id ? 1 : -1))[0];
}
