// A chart as a figure: with a caption that says the same in words, and a table of all its values.

import { draw as drawChart, sample, UNITS } from "./chart.js";
import { phrase } from "./text.js";

/** How far back the history goes, and after how many seconds it is asked for again. */
export const RANGES = [
  { name: "1h", title: phrase("Hour"), refresh: 60 },
  { name: "1d", title: phrase("Day"), refresh: 300 },
  { name: "1w", title: phrase("Week"), refresh: 300 },
  { name: "1m", title: phrase("Month"), refresh: 300 },
  { name: "1y", title: phrase("Year"), refresh: 300 },
];

/**
 * A chart with its caption and its table.
 *
 * @param {any} ctx what a screen gets.
 * @param {{name: string, title: string, hint?: string, unit: string, top?: number, columns: Record<string, string>}} chart
 *   `columns` are the lines, by column of the history.
 * @param {{history: any, room: number, isOpen: boolean, toggle: (open: boolean) => void}} state
 */
export function figure(ctx, { name, title, hint, unit, top, columns }, { history, room, isOpen, toggle }) {
  const { html, t, nothing } = ctx;
  const lines = Object.entries(columns).map(([column, label]) => ({ label: t(label), values: history.columns[column] ?? history.columns.time.map(() => null) }));
  const chart = { title: t(title), unit: UNITS[unit], top, lines };
  return html`<figure class="card" data-chart=${name}>
    <figcaption>
      <h2>${chart.title}</h2>
      ${hint ? html`<p class="hint">${t(hint)}</p>` : nothing}
      ${lines.map((line, index) => html`<p class="summed">${sample(index)}<span>${words(ctx, line, chart.unit, lines.length > 1)}</span></p>`)}
    </figcaption>
    ${drawChart(chart, history.columns.time, room)}
    <details .open=${isOpen} @toggle=${(event) => event.currentTarget.open !== isOpen && toggle(event.currentTarget.open)}>
      <summary>${t("Show as table")}</summary>
      ${isOpen ? table(ctx, chart, history) : nothing}
    </details>
  </figure>`;
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
