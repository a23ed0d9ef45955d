// Line charts as SVG: in the colours of the page, and with everything they show in words and as a table beside them.

import { number, percent, t } from "./text.js";
import { html, nothing, svg } from "./vendor/lit-html.js";

const HEIGHT = 208;
const MARGIN = { top: 12, right: 12, bottom: 28, left: 8 };
/** Between an axis and its labels, and between two labels. */
const GAP = 8;
const MINUTE = 60;
const HOUR = 3600;
const DAY = 86400;
/** @type {Record<string, Intl.DateTimeFormatOptions>} */
const SHOWS = { time: { timeStyle: "short" }, day: { weekday: "short" }, date: { day: "numeric", month: "short" } };
/**
 * Distances between the labels of the axis of time, and what a label shows.
 *
 * @type {{step: number, months?: number, shows: Intl.DateTimeFormatOptions}[]}
 */
const STEPS = [
  { step: 10 * MINUTE, shows: SHOWS.time },
  { step: 15 * MINUTE, shows: SHOWS.time },
  { step: 30 * MINUTE, shows: SHOWS.time },
  { step: 3 * HOUR, shows: SHOWS.time },
  { step: 6 * HOUR, shows: SHOWS.time },
  { step: 12 * HOUR, shows: SHOWS.time },
  { step: DAY, shows: SHOWS.day },
  { step: 2 * DAY, shows: SHOWS.day },
  { step: 7 * DAY, shows: SHOWS.date },
  { step: 14 * DAY, shows: SHOWS.date },
  { months: 2, step: 60 * DAY, shows: { month: "short" } },
  { months: 4, step: 120 * DAY, shows: { month: "short" } },
];

const pen = document.createElement("canvas").getContext("2d");

/** Return how wide a label is, so that none is cut and no two meet. */
function width(label) {
  pen.font = `14px ${getComputedStyle(document.body).fontFamily}`;
  return Math.ceil(pen.measureText(label).width);
}

/** Return a number of bytes a second as people write it, in the unit that suits `like`. */
function rate(bytes, like = bytes) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte"];
  let rest = bytes;
  let unit = 0;
  for (let size = like; size >= 999.5 && unit < units.length - 1; unit += 1) {
    rest /= 1000;
    size /= 1000;
  }
  /** @type {Intl.NumberFormatOptions} */
  const format = { style: "unit", unit: `${units[unit]}-per-second`, unitDisplay: "short", maximumFractionDigits: rest < 10 && unit ? 1 : 0 };
  return new Intl.NumberFormat(document.documentElement.lang, format).format(rest);
}

/** How the figures of a chart are written; of an axis, in the unit of its end. */
export const UNITS = {
  number: (value) => number(value, 2),
  percent: (value) => percent(value / 100),
  rate,
};

/**
 * Return a chart with its legend, in which each line is described in words.
 *
 * @param {{title: string, unit: (value: number, like?: number) => string, top?: number, lines: {label: string, values: (number | null)[]}[]}} chart
 *   `top` is the end of the axis, where it does not depend on the values.
 * @param {number[]} times seconds since the epoch, in equal steps.
 * @param {number} room how wide it may be.
 */
export function draw(chart, times, room) {
  const ticks = heights(chart);
  const labels = ticks.map((each) => chart.unit(each, ticks.at(-1)));
  const left = MARGIN.left + Math.max(...labels.map(width)) + GAP;
  const area = { left, right: room - MARGIN.right, top: MARGIN.top, bottom: HEIGHT - MARGIN.bottom };
  const x = (index) => area.left + ((area.right - area.left) * index) / Math.max(1, times.length - 1);
  const y = (value) => area.bottom - ((area.bottom - area.top) * Math.min(value, ticks.at(-1))) / ticks.at(-1);
  return html`<svg viewBox="0 0 ${room} ${HEIGHT}" width=${room} height=${HEIGHT} role="img" aria-label=${t("Chart: {title}", { title: chart.title })}>
    ${ticks.map((each, index) => svg`<line class="rule" x1=${area.left} x2=${area.right} y1=${y(each)} y2=${y(each)}></line>
      <text x=${area.left - GAP} y=${y(each)} dy="0.35em" text-anchor="end">${labels[index]}</text>`)}
    ${marks(times, area).map((each) => svg`<text x=${each.at} y=${HEIGHT - 6} text-anchor="middle">${each.label}</text>`)}
    ${chart.lines.length === 1 ? svg`<path class="filled" d=${shape(chart.lines[0].values, x, y, area.bottom)}></path>` : nothing}
    ${chart.lines.map((line, index) => svg`<path class="line line-${index + 1}" d=${shape(line.values, x, y)}></path>`)}
  </svg>`;
}

/** A piece of a line, for the legend. */
export const sample = (index) => html`<svg class="sample" width="28" height="12" viewBox="0 0 28 12" aria-hidden="true">
  <path class="line line-${index + 1}" d="M2,6H26"></path>
</svg>`;

/**
 * Return the values at which the axis has labels, from 0 on.
 *
 * @param {{top?: number, unit: any, lines: {values: (number | null)[]}[]}} chart
 */
function heights({ top, unit, lines }) {
  const highest = top ?? Math.max(unit === rate ? 4 : 0, ...lines.flatMap((line) => line.values.filter((each) => each !== null)));
  const rough = (highest || 1) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((each) => each * power).find((each) => each >= rough * 0.999);
  return Array.from({ length: Math.max(1, Math.ceil((highest || 1) / step - 0.001)) + 1 }, (_, index) => index * step);
}

/** Return the path of a line, or down to `bottom` of what is below it, with gaps where nothing is known. */
function shape(values, x, y, bottom) {
  let path = "";
  let begun = -1;
  for (let index = 0; index <= values.length; index += 1) {
    const known = index < values.length && values[index] !== null;
    if (known) {
      path += `${begun < 0 ? "M" : "L"}${round(x(index))},${round(y(values[index]))}`;
      begun = begun < 0 ? index : begun;
    } else if (begun >= 0) {
      // A line of one point is a dot.
      path += bottom === undefined ? "h.01" : `L${round(x(index - 1))},${bottom}L${round(x(begun))},${bottom}Z`;
      begun = -1;
    }
  }
  return path;
}

const round = (value) => Math.round(value * 10) / 10;

/** Return the labels of the axis of time, as many as have room. */
function marks(times, area) {
  const [first, last] = [times[0], times.at(-1)];
  const wide = area.right - area.left;
  for (const choice of STEPS) {
    const format = new Intl.DateTimeFormat(document.documentElement.lang, choice.shows);
    const at = moments(choice, first, last).map((time) => ({
      at: area.left + (wide * (time - first)) / Math.max(1, last - first),
      label: format.format(time * 1000),
    }));
    const inside = at.filter((each) => each.at - width(each.label) / 2 >= 0 && each.at + width(each.label) / 2 <= area.right + MARGIN.right);
    const room = (wide * choice.step) / Math.max(1, last - first);
    if (inside.every((each) => width(each.label) + GAP <= room)) {
      return inside;
    }
  }
  return [];
}

/**
 * Return the times with a label: full hours, days and months in the zone of the browser.
 *
 * @param {{step: number, months?: number}} choice
 * @param {number} first
 * @param {number} last
 */
function moments({ step, months }, first, last) {
  const found = [];
  const from = new Date(first * 1000);
  const begin = months ? new Date(from.getFullYear(), 0) : new Date(from.getFullYear(), from.getMonth(), from.getDate());
  for (let count = 0, at = begin; at.getTime() / 1000 <= last && count < 1000; count += 1) {
    if (at.getTime() / 1000 >= first) {
      found.push(at.getTime() / 1000);
    }
    at = new Date(begin);
    if (months) {
      at.setMonth((count + 1) * months);
    } else if (step >= DAY) {
      at.setDate(begin.getDate() + ((count + 1) * step) / DAY);
    } else {
      at = new Date(begin.getTime() + (count + 1) * step * 1000);
    }
  }
  return found;
}
