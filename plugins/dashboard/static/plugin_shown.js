// The parts of a plugin's screen that show something: answers of the appliance, charts, downloads and texts.

import { figure, RANGES } from "./figure.js";
import { isJobState, shown, table } from "./values.js";

/** Bytes of a text that are shown, the last ones. */
const SHOWN = 64 * 1024;

/** A part as a card of its own, with a title if it has one. */
export const card = ({ html, nothing, t }, title, content) => html`<section class="card">
  ${title ? html`<h2>${t(title)}</h2>` : nothing}
  ${content}
</section>`;

/** What a request with GET answers: facts, a table, a log, or the state of a job. */
export function answerPart(state, part, id, operation) {
  const { ctx } = state;
  const { html, nothing, t, alert } = ctx;
  const now = { value: undefined, kind: part.kind, trouble: null };
  const title = part.title || (part.kind === "log" ? t("Log") : t("State"));
  const schema = operation?.responses?.[200]?.content?.["application/json"]?.schema;
  const options = { title: t(title), titles: part.titles ?? part.columns, schema };
  return {
    async load() {
      try {
        Object.assign(now, await answer(ctx, part), { trouble: null });
        state.answers.set(part.path, now.value);
      } catch (error) {
        ctx.signal.throwIfAborted();
        now.trouble = error;
      }
    },
    view() {
      if (state.job !== null && isJobState(now.value)) {
        return nothing; // which is shown beneath the form that started it
      }
      if (now.trouble) {
        const absent = now.trouble.status === 404;
        return card(ctx, title, absent ? html`<p class="hint">${now.trouble.message}</p>` : alert(now.trouble));
      }
      if (now.value === undefined) {
        return nothing;
      }
      return card(ctx, title, now.kind === "download" ? downloadButton(ctx, part) : part.kind === "table" ? rows(now.value, part, options) : shown(now.value, options));
    },
  };
}

const rows = (value, { rows: key }, options) => {
  const found = key ? value?.[key] : value;
  const schema = key ? options.schema?.properties?.[key] : options.schema;
  return Array.isArray(found) ? table(found, { ...options, schema }) : shown(found, options);
};

/** Ask, and read no more of a text than is shown; null where there is nothing yet. */
async function answer(ctx, part) {
  const range = part.kind === "log" ? { Range: `bytes=-${SHOWN}` } : {};
  let response;
  try {
    response = await ctx.send("GET", part.path, { headers: { ...range, Prefer: "nothing=204" } });
  } catch (error) {
    if (error.status === 416) {
      return { value: null }; // a file of no bytes
    }
    throw error;
  }
  const media = response.headers.get("Content-Type") ?? "";
  if (response.status === 204) {
    return { value: null };
  }
  if (media.startsWith("application/json")) {
    return { value: await response.json() };
  }
  if (!media.startsWith("text/") || media.startsWith("text/event-stream")) {
    await response.body?.cancel();
    return { value: "", kind: "download" };
  }
  return { value: (await response.text()).slice(-SHOWN) };
}

/** A file to save. */
export function downloadPart(state, part) {
  return { view: () => card(state.ctx, part.title || state.ctx.t("File"), downloadButton(state.ctx, part)) };
}

function downloadButton({ html, t, download, alert, draw }, { path }) {
  const save = async (event) => {
    const outcome = event.currentTarget.closest(".card").querySelector(".outcome");
    await download(path).catch((error) => draw(alert(error), outcome));
  };
  return html`<p class="actions"><button type="button" @click=${save}>${t("Download")}</button></p><div class="outcome"></div>`;
}

/** Paragraphs. */
export function textPart({ ctx }, part) {
  const { html, t } = ctx;
  const paragraphs = t(part.text).split(/\n\s*\n/);
  return { view: () => card(ctx, part.title, paragraphs.map((each) => html`<p class="paragraph">${each}</p>`)) };
}

/** Lines over time, of any of the ranges of the history. */
export function chartPart(state, part, id) {
  const { ctx } = state;
  const { html, t, alert, look, signal } = ctx;
  const now = { range: RANGES[1], history: undefined, trouble: null, isOpen: false };
  const load = async () => {
    const { range } = now;
    const found = /** @type {any} */ ({});
    try {
      found.history = await look(part.path, { query: { range: range.name } });
      found.trouble = null;
    } catch (error) {
      signal.throwIfAborted();
      found.trouble = error;
    }
    Object.assign(now, range === now.range ? found : {}); // an answer may come after that of a range chosen later
  };
  const choose = async (range) => {
    now.range = range;
    await load();
    state.draw();
  };
  const toggle = (open) => {
    now.isOpen = open;
    state.draw();
  };
  const chart = { name: id, title: part.title || t("Chart"), unit: part.unit, top: part.unit === "percent" ? 100 : undefined, columns: part.columns };
  return {
    load,
    view: () => html`
      <div class="choices ranges" role="group" aria-label=${t("Time shown")}>
        ${RANGES.map((each) => html`<button type="button" aria-pressed=${each === now.range} @click=${() => choose(each)}>${t(each.title)}</button>`)}
      </div>
      ${now.trouble ? alert(now.trouble) : now.history?.columns?.time?.length ? figure(ctx, chart, { history: now.history, room: state.room(), isOpen: now.isOpen, toggle }) : card(ctx, chart.title, html`<p class="hint">${now.history === undefined ? t("Loading …") : t("There is nothing to show yet.")}</p>`)}`,
  };
}
