// Forms out of JSON Schemas: what a plugin's endpoint takes, as fields with labels.

import { prettified } from "./names.js";
import { kindOf, objects, options, plain } from "./schemas.js";
import { t } from "./text.js";
import { html, nothing, render } from "./vendor/lit-html.js";
import { field } from "./widgets.js";

/** Longer texts have more than one line. */
const LONG = 500;

/** What is wrong with the value of a field. */
class FieldError extends Error {
  constructor(pointer, message) {
    super(message);
    this.field = pointer;
  }
}

export class Fields {
  /**
   * @param {{schema: any, document: any, titles?: Record<string, string>, id: string, redraw: () => void}} options
   *   `titles` by name or JSON pointer; `id` begins the names of the fields, as a page may have two forms.
   */
  constructor({ schema, document, titles = {}, id, redraw }) {
    Object.assign(this, { document, titles, id, redraw, initial: {} });
    this.schema = plain(schema, document);
    /** The chosen one of several objects, and the rows of lists, by JSON pointer. */
    this.chosen = new Map();
    this.rows = new Map();
    /** What parts of the form that come and go are drawn in, so that each keeps what was typed there. */
    this.places = new Map();
  }

  get isEmpty() {
    return Object.keys(this.schema.properties ?? {}).length === 0;
  }

  /** The fields. */
  view() {
    return this.properties(this.schema, "");
  }

  properties(schema, pointer) {
    return Object.entries(schema.properties ?? {}).map(([name, each]) => {
      const isRequired = (schema.required ?? []).includes(name);
      return this.node(plain(each, this.document), `${pointer}/${escaped(name)}`, name, isRequired);
    });
  }

  /** What belongs to one value of a schema. */
  node(schema, pointer, name, required) {
    const kind = kindOf(schema, this.document);
    const given = { pointer, name: this.name(pointer), label: this.title(schema, pointer, name), hint: schema.description ?? "", required, value: this.value(schema, pointer) };
    const draw = { fixed: () => nothing, object: () => this.group(schema, given), choice: () => this.choice(schema, given), list: () => this.list(schema, given), checks: () => this.checks(schema, given), check: () => check(given) };
    if (draw[kind]) {
      return draw[kind]();
    }
    if (kind === "select") {
      const empty = required && given.value ? [] : [{ value: "", label: t("Please choose") }];
      return field({ ...given, value: String(given.value), options: [...empty, ...options(schema).map((each) => ({ ...each, label: t(each.label) }))] });
    }
    const types = { file: "file", secret: "password", number: "number", json: "textarea" };
    const type = types[kind] ?? (schema.maxLength > LONG ? "textarea" : "text");
    return field({ ...given, value: kind === "secret" ? "" : given.value, type, min: schema.minimum, max: schema.maximum, maxlength: kind === "text" ? schema.maxLength : undefined, step: schema.type === "integer" ? 1 : "any" });
  }

  name(pointer) {
    return this.id + pointer.replace(/[^A-Za-z0-9]/g, (sign) => (sign === "/" ? "-" : `_${sign.codePointAt(0)}`));
  }

  title(schema, pointer, name) {
    const own = [pointer, name].find((each) => Object.hasOwn(this.titles, each));
    const title = own !== undefined ? this.titles[own] : schema.title;
    return title ? t(title) : prettified(name);
  }

  /** The value that a field begins with: what is in force, or its default. */
  value(schema, pointer) {
    const known = pointer.slice(1).split("/").reduce((value, key) => value?.[key.replaceAll("~1", "/").replaceAll("~0", "~")], this.initial);
    return known ?? schema.default ?? "";
  }

  group(schema, { pointer, label, hint }) {
    return html`<fieldset class="inner"><legend>${label}</legend>${hint ? html`<p class="hint">${hint}</p>` : nothing}${this.properties(schema, pointer)}</fieldset>`;
  }

  /** One of several objects. */
  choice(schema, { pointer, label, hint, name, required }) {
    const all = objects(schema, this.document);
    const chosen = this.chosen.get(pointer) ?? (required ? 0 : -1);
    const choose = (event) => {
      this.chosen.set(pointer, Number(event.target.value));
      this.redraw();
    };
    const choices = all.map((each, index) => ({ value: String(index), label: t(each.title) }));
    const none = required ? [] : [{ value: "-1", label: t("None") }];
    return html`<fieldset class="inner"><legend>${label}</legend>
      ${field({ pointer, name, label: t("Kind"), hint, required: true, options: [...none, ...choices], value: String(chosen), change: choose })}
      ${all[chosen] ? this.place(`${pointer} ${chosen}`, this.properties(all[chosen], pointer)) : nothing}
    </fieldset>`;
  }

  /** Any number of values. */
  list(schema, { pointer, label, hint, name }) {
    const items = plain(schema.items, this.document);
    const begin = Array.from({ length: schema.minItems ?? 0 }, (_, index) => index);
    const rows = this.rows.get(pointer) ?? begin;
    const change = (changed) => {
      this.rows.set(pointer, changed);
      this.redraw();
    };
    const add = () => change([...rows, 1 + Math.max(-1, ...rows, this.rows.get(`${pointer} last`) ?? -1)]);
    const remove = (row) => {
      this.rows.set(`${pointer} last`, Math.max(...rows));
      change(rows.filter((each) => each !== row));
    };
    return html`<fieldset class="inner" id="field-${name}" data-pointer=${pointer}><legend>${label}</legend>
      ${hint ? html`<p class="hint">${hint}</p>` : nothing}
      ${rows.map((row, index) => this.place(`${pointer} row ${row}`, html`<div class="entry">
        ${this.node({ ...items, title: items.title ?? t("Entry {number}", { number: index + 1 }) }, `${pointer}/${index}`, "", true)}
        <button type="button" @click=${() => remove(row)} aria-label=${t("Remove: {name}", { name: `${label} ${index + 1}` })}>${t("Remove")}</button>
      </div>`))}
      <p class="actions"><button type="button" @click=${add}>${t("Add an entry")}</button></p>
      <span class="problem" id="field-${name}-problem"></span>
    </fieldset>`;
  }

  /** Any of some values. */
  checks(schema, { pointer, label, hint, name, value }) {
    const all = options(plain(schema.items, this.document));
    const on = Array.isArray(value) ? value.map(String) : [];
    return html`<fieldset id="field-${name}" data-pointer=${pointer}><legend>${label}</legend>
      ${hint ? html`<p class="hint">${hint}</p>` : nothing}
      <div class="choices">${all.map((each, index) => html`<p class="choice">
        <input type="checkbox" id="field-${name}-${index}" data-option=${pointer} value=${each.value} .checked=${on.includes(each.value)}>
        <label for="field-${name}-${index}">${t(each.label)}</label>
      </p>`)}</div>
      <span class="problem" id="field-${name}-problem"></span>
    </fieldset>`;
  }

  place(key, content) {
    const place = this.places.get(key) ?? document.createElement("div");
    place.className = "part";
    this.places.set(key, place);
    render(content, place);
    return place;
  }

  /**
   * Return what was entered, by name.
   *
   * @param {HTMLFormElement} form
   * @throws {FieldError} a value cannot be right.
   */
  values(form) {
    return this.read(this.schema, "", true, form) ?? {};
  }

  read(schema, pointer, required, form) {
    const kind = kindOf(schema, this.document);
    if (kind === "choice") {
      const one = objects(schema, this.document)[this.chosen.get(pointer) ?? (required ? 0 : -1)];
      return one && this.readObject(one, pointer, form);
    }
    if (kind === "object") {
      const read = this.readObject(schema, pointer, form);
      return required || Object.keys(read).length ? read : undefined;
    }
    if (kind === "list") {
      const rows = this.rows.get(pointer) ?? Array.from({ length: schema.minItems ?? 0 });
      const read = rows.map((_, index) => this.read(plain(schema.items, this.document), `${pointer}/${index}`, true, form));
      return required || read.length ? read : undefined;
    }
    if (kind === "checks") {
      const on = [...form.querySelectorAll(`[data-option="${CSS.escape(pointer)}"]:checked`)].map((each) => each.value);
      return required || on.length ? on : undefined;
    }
    return kind === "fixed" ? schema.const : entered(schema, kind, pointer, required, form);
  }

  readObject(schema, pointer, form) {
    const read = Object.entries(schema.properties ?? {}).map(([name, each]) => {
      const isRequired = (schema.required ?? []).includes(name);
      return [name, this.read(plain(each, this.document), `${pointer}/${escaped(name)}`, isRequired, form)];
    });
    return Object.fromEntries(read.filter(([, value]) => value !== undefined));
  }
}

const escaped = (name) => name.replaceAll("~", "~0").replaceAll("/", "~1");

/** A checkbox with its hint. */
function check({ pointer, name, label, hint, value }) {
  return html`<div class="field">
    <p class="choice">
      <input type="checkbox" id="field-${name}" data-pointer=${pointer} aria-describedby="field-${name}-hint field-${name}-problem" .checked=${value === true}>
      <label for="field-${name}">${label}</label>
    </p>
    <span class="hint" id="field-${name}-hint">${hint}</span>
    <span class="problem" id="field-${name}-problem"></span>
  </div>`;
}

/** The value of one field; nothing of one that was left empty. */
function entered(schema, kind, pointer, required, form) {
  const input = form.querySelector(`[data-pointer="${CSS.escape(pointer)}"]`);
  if (!input) {
    return undefined;
  }
  if (kind === "check") {
    return input.checked;
  }
  if (kind === "file") {
    return input.files[0];
  }
  if (input.value === "") {
    return required && kind !== "text" && kind !== "secret" ? invalid(pointer, t("Please fill in this field.")) : required ? "" : undefined;
  }
  if (kind === "number") {
    return Number(input.value);
  }
  if (kind === "json") {
    return json(input.value, pointer);
  }
  return fitting(schema, input.value, pointer);
}

function invalid(pointer, message) {
  throw new FieldError(pointer, message);
}

function json(text, pointer) {
  try {
    return JSON.parse(text);
  } catch {
    return invalid(pointer, t("This is not valid JSON."));
  }
}

/** A text that has the pattern of its schema; the appliance decides about all else. */
function fitting({ pattern, minLength = 0, description }, text, pointer) {
  if (text.length < minLength || (pattern && !matches(pattern, text))) {
    return invalid(pointer, description ? t("This must be: {what}", { what: description }) : t("This is not valid."));
  }
  return text;
}

function matches(pattern, text) {
  try {
    return new RegExp(pattern, "u").test(text);
  } catch {
    return true; // a pattern of another language than this one's
  }
}
