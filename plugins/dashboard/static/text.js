// Texts in the language of the browser, whose key is the English text; times, by the clock of the appliance.

const CATALOGUE_TRIES = 2;

let catalogue = {};
let language = "en";

/** Load the catalogue of the first language that the browser asks for and the appliance has. */
export async function load(languages) {
  for (const wanted of navigator.languages) {
    const found = [wanted, wanted.split("-")[0]].find((each) => each in languages || each === "en");
    if (found === undefined) {
      continue;
    }
    if (found === "en" && !("en" in languages)) {
      language = wanted;
      break;
    }
    const read = await fetched(languages[found]);
    if (read !== null) {
      catalogue = read;
      language = wanted;
      break;
    }
  }
  document.documentElement.lang = language;
}

/** Return a catalogue; null where it cannot be had, and English does. */
async function fetched(address) {
  for (let left = CATALOGUE_TRIES; left > 0; left -= 1) {
    try {
      const response = await fetch(address);
      return response.ok ? await response.json() : null;
    } catch {
      // lost on the way, or no JSON
    }
  }
  return null;
}

/**
 * Return a text in the user's language.
 *
 * @param {string} english with `{name}` for each value.
 * @param {Record<string, unknown>} [values]
 * @returns {string}
 */
export function t(english, values = {}) {
  const translated = own(catalogue, english) || english;
  return fill(typeof translated === "string" ? translated : translated.other, values);
}

/** Return whether the catalogue in use has a text. */
export const isTranslated = (english) => Object.hasOwn(catalogue, english);

/** Mark an English text that is translated where it is shown, as catalogues are made from such marks. */
export const phrase = (english) => english;

/**
 * Return a text about a number of things.
 *
 * @param {number} count available as `{count}`.
 * @param {string} one the English text for one.
 * @param {string} other the English text for all other numbers, which is the key.
 * @param {Record<string, unknown>} [values]
 * @returns {string}
 */
export function plural(count, one, other, values = {}) {
  const translated = own(catalogue, other);
  const forms = translated === undefined ? { one, other } : typeof translated === "string" ? { other: translated } : translated;
  const tongue = translated === undefined ? "en" : language;
  const form = forms[new Intl.PluralRules(tongue).select(count)] ?? forms.other;
  return fill(form, { count: number(count), ...values });
}

function own(object, name) {
  return Object.hasOwn(object, name) ? object[name] : undefined;
}

function fill(text, values) {
  return text.replace(/\{(\w+)\}/g, (whole, name) => (Object.hasOwn(values, name) ? String(values[name]) : whole));
}

/** Return a number as people write it. */
export const number = (value, digits = 0) =>
  new Intl.NumberFormat(language, { maximumFractionDigits: digits }).format(value);

/** Return a share of 1 as a percentage. */
export const percent = (share) =>
  new Intl.NumberFormat(language, { style: "percent", maximumFractionDigits: 0 }).format(share);

/** Return seconds since the epoch as date and time in the browser's zone. */
export const dateTime = (seconds) =>
  new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }).format(seconds * 1000);

let logFormat = null;

/** Return the time of a line of a log, always of one length. */
export function logTime(seconds) {
  logFormat ??= new Intl.DateTimeFormat(language, { month: "short", day: "2-digit", hour: "2-digit", minute: "2-digit", second: "2-digit" });
  return logFormat.format(seconds * 1000);
}

/** Return seconds since the epoch as a date. */
export const date = (seconds) => new Intl.DateTimeFormat(language, { dateStyle: "medium" }).format(seconds * 1000);

/** Return the day of a time in the browser's zone as files and date fields have it, 2026-11-28. */
export function day(seconds) {
  const time = new Date(seconds * 1000);
  return new Date(time.getTime() - time.getTimezoneOffset() * 60_000).toISOString().slice(0, 10);
}

/** Seconds by which the appliance is ahead of this browser, whose clock may be wrong by hours; unknown until it answered. */
let ahead = null;

/**
 * Take what a response says of the time; it is of whole seconds, and of a moment between request and response.
 *
 * @param {string | null} date the header Date.
 * @param {number} sent when the request was sent, by `Date.now()`.
 */
export function hear(date, sent) {
  const said = Date.parse(date ?? "") / 1000;
  if (Number.isFinite(said)) {
    const earliest = said - Date.now() / 1000;
    const latest = said + 1 - sent / 1000;
    ahead = Math.min(Math.max(ahead ?? earliest, earliest), latest);
  }
}

/** Return the time of the appliance, in seconds since the epoch. */
export const now = () => Date.now() / 1000 + (ahead ?? 0);

/** Wait some milliseconds. */
export const sleep = (pause) => new Promise((resolve) => setTimeout(resolve, pause));

/** Return how long ago, or how far ahead, a time is. */
export function fromNow(seconds) {
  const away = seconds - now();
  const format = new Intl.RelativeTimeFormat(language, { numeric: "auto" });
  for (const [unit, length] of Object.entries({ day: 86400, hour: 3600, minute: 60 })) {
    if (Math.abs(away) >= length) {
      return format.format(Math.trunc(away / length), /** @type {Intl.RelativeTimeFormatUnit} */ (unit));
    }
  }
  return format.format(Math.trunc(away), "second");
}

/** Return a length of time, such as 1 min 5 s. */
export function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const parts = { hour: Math.floor(whole / 3600), minute: Math.floor(whole / 60) % 60, second: whole % 60 };
  const units = Object.keys(parts);
  const first = units.findIndex((unit) => parts[unit] > 0);
  return units
    .slice(first < 0 ? 2 : first)
    .slice(0, 2)
    .map((unit) => quantity(parts[unit], unit))
    .join(" ");
}

const quantity = (value, unit, digits = 0) =>
  new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay: "short", maximumFractionDigits: digits }).format(value);

/** Return a number of bytes in the unit that suits it. */
export function bytes(amount) {
  const units = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];
  let rest = amount;
  let unit = 0;
  while (rest >= 1000 && unit < units.length - 1) {
    rest /= 1000;
    unit += 1;
  }
  return quantity(rest, units[unit], unit > 1 && rest < 100 ? 1 : 0);
}

/** How lines of jobs begin: the time, and who wrote it. */
const BEGINNING = /^\[(\d{9,11})\](?:\[[A-Z ]{1,32}\])? ?/gm;

/** Return a log as people read it. */
export const readableLog = (log) => log.replace(BEGINNING, (_, seconds) => `${logTime(Number(seconds))}  `);
