// What the appliance answered, shown without knowing what it is: facts, tables, lists, logs.

import { prettified } from "./names.js";
import { dateTime, number, percent, t } from "./text.js";
import { html, nothing } from "./vendor/lit-html.js";
import { alert, logView, stateOf } from "./widgets.js";

/** What is deeper is shown as it came. */
const DEEPEST = 3;
/** How many rows are shown. */
const MOST = 500;

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

/** Return whether it is the state of a job, as `request.job_status` answers. */
export const isJobState = (value) => isObject(value) && "status" in value && "log" in value && ("percentage" in value || value.status === null);

/**
 * Show a value.
 *
 * @param {any} value
 * @param {{title: string, titles?: Record<string, string>, schema?: any}} options `titles` by key; `schema` describes the
 *   value.
 */
export function shown(value, options, depth = 1) {
  if (value === null || value === undefined || value === "") {
    return html`<p class="hint">${t("There is nothing to show yet.")}</p>`;
  }
  if (typeof value === "string") {
    return logView(value, options.title);
  }
  if (Array.isArray(value)) {
    return value.some(isObject) ? table(value, options) : list(value);
  }
  if (!isObject(value)) {
    return html`<p>${plain(value)}</p>`;
  }
  return isJobState(value) ? jobState(value, options) : facts(value, options, depth);
}

/** The title of a key: the author's, or the key with a capital letter. */
const titleOf = (key, { titles = {}, schema }) => {
  const own = Object.hasOwn(titles, key) ? titles[key] : schema?.properties?.[key]?.title;
  return own ? t(own) : prettified(key);
};

function facts(value, options, depth) {
  const order = Object.keys(options.titles ?? {}).filter((key) => Object.hasOwn(value, key));
  const keys = [...new Set([...order, ...Object.keys(value)])].filter((key) => key !== "Status");
  const deep = keys.filter((key) => typeof value[key] === "object" && value[key] !== null && !isShort(value[key]));
  const flat = keys.filter((key) => !deep.includes(key));
  if (!keys.length) {
    return html`<p class="hint">${t("There is nothing to show yet.")}</p>`;
  }
  return html`
    ${flat.length
      ? html`<dl class="facts">${flat.map((key) => html`<dt>${titleOf(key, options)}</dt><dd>${cell(value[key], options.schema?.properties?.[key])}</dd>`)}</dl>`
      : nothing}
    ${deep.map((key) => inner(key, value[key], options, depth))}`;
}

function inner(key, value, options, depth) {
  const title = titleOf(key, options);
  const below = { title, schema: options.schema?.properties?.[key] };
  return html`<section class="inner">
    <h3>${title}</h3>
    ${depth < DEEPEST ? shown(value, below, depth + 1) : html`<pre class="text">${JSON.stringify(value, null, 2)}</pre>`}
  </section>`;
}

const isShort = (value) => Array.isArray(value) && !value.some((each) => typeof each === "object" && each !== null);

/**
 * A table of objects.
 *
 * @param {any[]} all the rows; what is no object is none.
 * @param {{title: string, titles?: Record<string, string>, schema?: any}} options
 */
export function table(all, { title, titles, schema }) {
  const rows = all.filter(isObject);
  const items = schema?.items;
  const named = Object.keys(titles ?? {});
  const keys = named.length ? named : [...new Set(rows.flatMap(Object.keys))];
  if (!rows.length) {
    return html`<p class="hint">${t("There is nothing to show yet.")}</p>`;
  }
  return html`<div class="wide" tabindex="0" role="region" aria-label=${title}>
    <table>
      <thead><tr>${keys.map((key) => html`<th scope="col">${titleOf(key, { titles, schema: items })}</th>`)}</tr></thead>
      <tbody>${rows.slice(0, MOST).map((row) => html`<tr>${keys.map((key) => html`<td>${cell(row[key], items?.properties?.[key])}</td>`)}</tr>`)}</tbody>
    </table>
  </div>
  ${rows.length > MOST ? html`<p class="hint">${t("Only the first {count} of {all} are shown.", { count: number(MOST), all: number(rows.length) })}</p>` : nothing}`;
}

const list = (values) =>
  values.length ? html`<ul class="plain">${values.slice(0, MOST).map((each) => html`<li>${plain(each)}</li>`)}</ul>` : html`<p class="hint">${t("There is nothing to show yet.")}</p>`;

function cell(value, schema) {
  if (schema?.format === "date-time" && typeof value === "string" && !Number.isNaN(Date.parse(value))) {
    return dateTime(Date.parse(value) / 1000);
  }
  return Array.isArray(value) && isShort(value) ? value.map(plain).join(", ") : plain(value);
}

function plain(value) {
  if (typeof value === "boolean") {
    return value ? t("Yes") : t("No");
  }
  if (typeof value === "number") {
    return number(value, 3);
  }
  return value === null || value === undefined ? "–" : typeof value === "object" ? JSON.stringify(value) : String(value);
}

/** How the last job went, or goes. */
function jobState(state, { title }) {
  if (!state.status) {
    return html`<p class="hint">${t("It has not run yet.")}</p>`;
  }
  return html`
    <p>${stateOf(state.status)}</p>
    ${state.status === "running"
      ? html`<p class="progress"><progress max="100" .value=${state.percentage} aria-label=${title}></progress><span class="figures">${percent(state.percentage / 100)}</span></p>`
      : nothing}
    ${state.status === "failed" ? alert({ message: state["error-message"] ?? t("It failed without a reason."), code: state["error-code"] }) : nothing}
    ${state.log ? logView(state.log, title) : nothing}`;
}
