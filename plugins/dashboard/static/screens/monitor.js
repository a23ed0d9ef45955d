// How the load, the memory, the network and the disk of the appliance were over time.

import { figure, RANGES } from "../figure.js";
import { Waiting } from "../jobs.js";
import { phrase } from "../text.js";

const FIRST = "1d";
/** Seconds after which a request that failed is made again. */
const AGAIN = 30;
const CHARTS = [
  { name: "load", title: phrase("Load"), hint: phrase("How many programs want to work at once, on average over a minute."), unit: "number", columns: { load: phrase("Load") } },
  { name: "memory", title: phrase("Memory"), hint: phrase("How much of the memory is in use."), unit: "percent", top: 100, columns: { memory: phrase("Memory") } },
  { name: "network", title: phrase("Network"), hint: phrase("What all network connections receive and send."), unit: "rate", columns: { received: phrase("Received"), sent: phrase("Sent") } },
  { name: "disk", title: phrase("Disk"), hint: phrase("How much of the disk is in use."), unit: "percent", top: 100, columns: { disk: phrase("Disk") } },
];

/** Show the screen. */
export async function page(root, ctx) {
  const { render, signal, live } = ctx;
  const asked = location.pathname.split("/")[3];
  const range = RANGES.find((each) => each.name === asked) ?? RANGES.find((each) => each.name === FIRST);
  const shown = { range, drawn: null, history: undefined, trouble: null, open: new Set() };
  const news = new Waiting();
  const draw = () => signal.aborted || render(screen(ctx, shown, root.clientWidth, { choose, toggle }));
  const choose = (chosen) => {
    shown.range = chosen;
    history.replaceState(null, "", `/dashboard/monitor/${chosen.name}`);
    draw();
    news.call();
  };
  const toggle = (name, open) => {
    shown.open[open ? "add" : "delete"](name);
    draw();
  };
  const size = new ResizeObserver(draw);
  size.observe(root);
  signal.addEventListener("abort", () => size.disconnect());
  document.addEventListener("visibilitychange", () => news.call(), { signal });
  live.on("reach", () => news.call(), signal);
  draw();
  await follow(ctx, shown, draw, news);
}

/** Ask for the history again and again, each time after the last answer, as long as somebody looks. */
async function follow({ look, signal, live }, shown, draw, news) {
  for (;;) {
    const { range } = shown;
    try {
      const history = await look("/health/history", { query: { range: range.name } });
      Object.assign(shown, range === shown.range ? { history, drawn: range, trouble: null } : {});
    } catch (error) {
      signal.throwIfAborted();
      shown.trouble = error;
    }
    draw();
    const due = Date.now() + (shown.trouble ? AGAIN : range.refresh) * 1000;
    const rests = () => document.visibilityState === "hidden" || (Date.now() < due && !(shown.trouble && live.state.reached && !shown.trouble.status));
    while (range === shown.range && rests()) {
      await news.within(Math.max(due - Date.now(), AGAIN * 1000), signal);
    }
  }
}

function screen(ctx, shown, room, { choose, toggle }) {
  const { html, t, alert, nothing } = ctx;
  const { history, range, trouble } = shown;
  const known = history && Object.entries(history.columns).some(([name, values]) => name !== "time" && values.some((each) => each !== null));
  return html`
    <div class="choices ranges" role="group" aria-label=${t("Time shown")}>
      ${RANGES.map((each) => html`<button type="button" aria-pressed=${each === range} @click=${() => choose(each)}>${t(each.title)}</button>`)}
    </div>
    ${trouble ? alert(trouble) : nothing}
    ${history === undefined ? (trouble ? nothing : html`<p class="hint" role="status">${t("Loading …")}</p>`) : nothing}
    ${history === null || (history && !known)
      ? html`<section class="card"><p>${t("Nothing is known of this time yet. The appliance records its state from now on; the first figures are here within a minute.")}</p></section>`
      : nothing}
    ${known ? html`<div class="charts" aria-busy=${shown.drawn !== range}>${CHARTS.map((chart) =>
      figure(ctx, chart, { history, room: chartRoom(room), isOpen: shown.open.has(chart.name), toggle: (open) => toggle(chart.name, open) }))}</div>` : nothing}`;
}

/** Cards stand side by side from 960 pixels on, and have a border and room around what they hold. */
function chartRoom(room) {
  const columns = room >= 880 ? 2 : 1;
  return Math.max(240, Math.floor((room - 16 * (columns - 1)) / columns) - (room < 700 ? 34 : 42));
}
