// How the load, the memory, the network and the disk of the appliance were over time.

import { draw as drawChart, sample, UNITS } from "../chart.js";

const RANGES = [
  { name: "1h", title: "Hour", refresh: 60 },
  { name: "1d", title: "Day", refresh: 300 },
  { name: "1w", title: "Week", refresh: 300 },
  { name: "1m", title: "Month", refresh: 300 },
  { name: "1y", title: "Year", refresh: 300 },
];
const FIRST = "1d";
/** Seconds after which a request that failed is made again. */
const AGAIN = 30;
const CHARTS = [
  { name: "load", title: "Load", hint: "How many programs want to work at once, on average over a minute.", unit: "load", columns: { load: "Load" } },
  { name: "memory", title: "Memory", hint: "How much of the memory is in use.", unit: "percent", top: 100, columns: { memory: "Memory" } },
  { name: "network", title: "Network", hint: "What all network connections receive and send.", unit: "rate", columns: { received: "Received", sent: "Sent" } },
  { name: "disk", title: "Disk", hint: "How much of the disk is in use.", unit: "percent", top: 100, columns: { disk: "Disk" } },
];

/** Show the screen. */
export async function page(root, ctx) {
  const { render, signal, live } = ctx;
  const asked = location.pathname.split("/")[3];
  const shown = { range: RANGES.find((each) => each.name === asked) ?? RANGES.find((each) => each.name === FIRST), drawn: null, history: undefined, trouble: null, open: new Set() };
  const waiting = new Pause(signal);
  const draw = () => signal.aborted || render(screen(ctx, shown, root.clientWidth, choose, toggle));
  const choose = (range) => {
    shown.range = range;
    history.replaceState(null, "", `/dashboard/monitor/${range.name}`);
    draw();
    waiting.end();
  };
  const toggle = (name, open) => {
    open ? shown.open.add(name) : shown.open.delete(name);
    draw();
  };
  const size = new ResizeObserver(draw);
  size.observe(root);
  signal.addEventListener("abort", () => size.disconnect());
  live.on("reach", (reached) => reached && waiting.end(), signal);
  draw();
  await follow(ctx, shown, draw, waiting);
}

/** Ask for the history again and again, each time after the last answer, as long as somebody looks. */
async function follow({ look, signal }, shown, draw, waiting) {
  while (!signal.aborted) {
    const { range } = shown;
    try {
      const history = await look("/health/history", { query: { range: range.name } });
      Object.assign(shown, range === shown.range ? { history, drawn: range, trouble: null } : {});
    } catch (error) {
      signal.throwIfAborted();
      shown.trouble = error;
    }
    draw();
    if (range === shown.range) {
      await waiting.last(shown.trouble ? AGAIN : range.refresh);
    }
    await waiting.visible();
  }
}

function screen(ctx, shown, room, choose, toggle) {
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
    ${known ? html`<div class="charts" aria-busy=${shown.drawn !== range}>${CHARTS.map((chart) => figure(ctx, chart, shown, room, toggle))}</div>` : nothing}`;
}

function figure(ctx, { name, title, hint, unit, top, columns }, { history, open }, room, toggle) {
  const { html, t, nothing } = ctx;
  const lines = Object.entries(columns).map(([column, label]) => ({ label: t(label), values: history.columns[column] }));
  const chart = { title: t(title), unit: UNITS[unit], top, lines };
  const isOpen = open.has(name);
  return html`<figure class="card" data-chart=${name}>
    <figcaption>
      <h2>${chart.title}</h2>
      <p class="hint">${t(hint)}</p>
      ${lines.map((line, index) => html`<p class="summed">${sample(index)}<span>${words(ctx, line, chart.unit, lines.length > 1)}</span></p>`)}
    </figcaption>
    ${drawChart(chart, history.columns.time, chartRoom(room))}
    <details .open=${isOpen} @toggle=${(event) => event.currentTarget.open !== isOpen && toggle(name, event.currentTarget.open)}>
      <summary>${t("Show as table")}</summary>
      ${isOpen ? table(ctx, chart, history) : nothing}
    </details>
  </figure>`;
}

/** Cards stand side by side from 960 pixels on, and have a border and room around what they hold. */
function chartRoom(room) {
  const columns = room >= 880 ? 2 : 1;
  return Math.max(240, Math.floor((room - 16 * (columns - 1)) / columns) - (room < 700 ? 34 : 42));
}

/** What a line shows, in words. */
function words({ t }, { label, values }, unit, named) {
  const known = values.filter((each) => each !== null);
  if (!known.length) {
    return named ? t("{name}: nothing is known of this time.", { name: label }) : t("Nothing is known of this time.");
  }
  const figures = { name: label, lowest: unit(Math.min(...known)), highest: unit(Math.max(...known)) };
  const now = values.at(-1) ?? values.at(-2) ?? null;
  if (now === null) {
    return named ? t("{name}: now unknown, lowest {lowest}, highest {highest}", figures) : t("Now unknown, lowest {lowest}, highest {highest}", figures);
  }
  const all = { ...figures, now: unit(now) };
  return named ? t("{name}: now {now}, lowest {lowest}, highest {highest}", all) : t("Now {now}, lowest {lowest}, highest {highest}", all);
}

/** The same figures as a table, the newest first; `data` has them as the appliance told them. */
function table({ html, t, dateTime }, { title, unit, lines }, { columns }) {
  const rows = columns.time.map((time, index) => index).reverse();
  const cell = (value) => (value === null ? html`<span class="hint">${t("unknown")}</span>` : html`<data value=${value}>${unit(value)}</data>`);
  return html`<div class="wide tall" tabindex="0" role="region" aria-label=${t("Table: {title}", { title })}>
    <table>
      <thead><tr><th scope="col">${t("From")}</th>${lines.map((line) => html`<th scope="col" class="number">${line.label}</th>`)}</tr></thead>
      <tbody>
        ${rows.map((index) => html`<tr>
          <th scope="row"><time datetime=${new Date(columns.time[index] * 1000).toISOString()}>${dateTime(columns.time[index])}</time></th>
          ${lines.map((line) => html`<td class="number">${cell(line.values[index])}</td>`)}
        </tr>`)}
      </tbody>
    </table>
  </div>`;
}

/** A wait that the user may end. */
class Pause {
  constructor(signal) {
    this.signal = signal;
    this.end = () => {};
  }

  last(seconds) {
    return this.until((done) => {
      const timer = setTimeout(done, seconds * 1000);
      return () => clearTimeout(timer);
    });
  }

  /** Wait until somebody looks at the tab. */
  visible() {
    return this.until((done) => {
      const look = () => document.visibilityState === "visible" && done();
      document.addEventListener("visibilitychange", look);
      look();
      return () => document.removeEventListener("visibilitychange", look);
    });
  }

  async until(start) {
    let stop = () => {};
    await new Promise((resolve) => {
      this.end = () => resolve(undefined);
      this.signal.addEventListener("abort", this.end, { once: true });
      stop = start(this.end);
    });
    stop();
    this.signal.removeEventListener("abort", this.end);
    this.end = () => {};
    this.signal.throwIfAborted();
  }
}
