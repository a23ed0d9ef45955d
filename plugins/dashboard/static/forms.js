// Forms out of JSON Schemas: what a plugin's endpoint takes, as fields with labels.

import { prettified } from "./names.js";
import { kindOf, objects, options, plain } from "./schemas.js";
import { rule } from "./sentences.js";
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
    this.document = document;
    this.titles = titles;
    this.id = id;
    this.redraw = redraw;
    /** What the fields begin with, by name. */
    this.initial = {};
    this.schema = plain(schema, document);
    /** The chosen one of several objects, and the rows of lists, by JSON pointer. */
    this.chosen = new Map();
    this.rows = new Map();
    /** What parts of the form that come and go are drawn in, so that each keeps what was typed there. */
    this.places = new Map();
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
    const given = { pointer, name: this.name(pointer), label: this.title(schema, pointer, name), hint: rule(schema.description ?? ""), required, value: this.value(schema, pointer) };
    const draw = { fixed: () => nothing, object: () => this.group(schema, given), choice: () => this.choice(schema, given), list: () => this.list(schema, given), checks: () => this.checks(schema, given), check: () => check(given) };
    if (draw[kind]) {
      return isOptional(kind, required) ? this.optional(given, draw[kind]) : draw[kind]();
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
    const keys = pointer.slice(1).split("/").map((key) => key.replaceAll("~1", "/").replaceAll("~0", "~"));
    const own = (value, key) => (typeof value === "object" && value !== null && Object.hasOwn(value, key) ? value[key] : undefined);
    return keys.reduce(own, this.initial) ?? schema.default ?? "";
  }

  /** What has fields of its own is asked for only when it is wanted, as some of them may be needed then. */
  optional({ pointer, label, name }, draw) {
    const change = (event) => {
      this.chosen.set(`${pointer} wanted`, event.target.checked);
      this.redraw();
    };
    return html`<p class="choice">
        <input type="checkbox" id="field-${name}-wanted" .checked=${this.isWanted(pointer)} @change=${change}>
        <label for="field-${name}-wanted">${t("Set: {name}", { name: label })}</label>
      </p>
      ${this.isWanted(pointer) ? this.place(`${pointer} wanted`, draw()) : nothing}`;
  }

  isWanted(pointer) {
    return this.chosen.get(`${pointer} wanted`) ?? this.value({}, pointer) !== "";
  }

  group(schema, { pointer, label, hint }) {
    return html`<fieldset class="inner"><legend>${label}</legend>${hint ? html`<p class="hint">${hint}</p>` : nothing}${this.properties(schema, pointer)}</fieldset>`;
  }

  /** One of several objects. */
  choice(schema, { pointer, label, hint, name }) {
    const all = objects(schema, this.document);
    const chosen = this.pick(all, pointer);
    const choose = (event) => {
      this.chosen.set(pointer, Number(event.target.value));
      this.redraw();
    };
    const choices = all.map((each, index) => ({ value: String(index), label: t(each.title) }));
    return html`<fieldset class="inner"><legend>${label}</legend>
      ${field({ pointer, name, label: t("Kind"), hint, required: true, options: choices, value: String(chosen), change: choose })}
      ${this.place(`${pointer} ${chosen}`, this.properties(all[chosen], pointer))}
    </fieldset>`;
  }

  /** Return which of several objects is chosen: at first the one that is in force. */
  pick(all, pointer) {
    const fits = (each) =>
      Object.entries(each.properties).some(([name, property]) => {
        const { const: fixed } = plain(property, this.document);
        return fixed !== undefined && this.value({}, `${pointer}/${escaped(name)}`) === fixed;
      });
    return this.chosen.get(pointer) ?? Math.max(0, all.findIndex(fits));
  }

  /** Return the rows of a list, by numbers that stay theirs. */
  rowsOf(schema, pointer) {
    const known = this.value({}, pointer);
    const length = Math.max(schema.minItems ?? 0, Array.isArray(known) ? known.length : 0);
    return this.rows.get(pointer) ?? Array.from({ length }, (_, index) => index);
  }

  /** Any number of values. */
  list(schema, { pointer, label, hint, name }) {
    const items = plain(schema.items, this.document);
    const rows = this.rowsOf(schema, pointer);
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
    if (isOptional(kind, required) && !this.isWanted(pointer)) {
      return undefined;
    }
    if (kind === "choice") {
      const all = objects(schema, this.document);
      return this.readObject(all[this.pick(all, pointer)], pointer, form);
    }
    if (kind === "object") {
      return this.readObject(schema, pointer, form);
    }
    if (kind === "list") {
      const read = this.rowsOf(schema, pointer).map((_, index) => this.read(plain(schema.items, this.document), `${pointer}/${index}`, true, form));
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

const isOptional = (kind, required) => !required && (kind === "object" || kind === "choice");
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
    const what = rule(description ?? "");
    return invalid(pointer, what && what === description ? t("This must be: {what}", { what }) : what || t("This is not valid."));
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
