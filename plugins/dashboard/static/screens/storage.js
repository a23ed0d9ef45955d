// Where the appliance keeps its data. Types and fields are those of the appliance's own description.

import { Changes, onlyLooking, saved } from "./changes.js";
import { phrase } from "../text.js";
import { parameter } from "./description.js";

/** What stands for a stored secret, in answers and in requests. */
const MASK = "********";
const TYPES = {
  local: [phrase("Local disk"), phrase("The data stay on the disk of the appliance itself.")],
  nfs: [phrase("Network share (NFS)"), phrase("A directory that a file server shares over the network.")],
  iscsi: [phrase("Network disk (iSCSI)"), phrase("A disk that a storage system lends over the network. All four fields are needed.")],
  nbd: [phrase("Network disk (NBD)"), phrase("A disk that a Linux server lends over the network.")],
  aoe: [phrase("Network disk (ATA over Ethernet)"), phrase("A disk in the same network segment, found by its number.")],
};
const FIELDS = {
  ip: [phrase("Address of the server"), phrase("Its IPv4 or IPv6 address, such as 192.168.1.100.")],
  share: [phrase("Shared directory"), phrase("Its path on the server, such as /exports/data.")],
  mount_options: [phrase("Mount options"), phrase("Separated by commas, such as noacl,sync.")],
  device: [phrase("Device"), phrase("Shelf and slot of the disk, such as e0.1.")],
  target: [phrase("Target"), phrase("The name of the disk, such as iqn.2016-01.com.example:storage.lun1.")],
  username: [phrase("User name"), phrase("At least 3 characters.")],
  password: [phrase("Password"), phrase("At least 3 characters.")],
  export_name: [phrase("Name of the disk"), phrase("The name that the server exports it by.")],
  port: [phrase("Port"), phrase("The port of the server, such as 1043.")],
};

/** Show the screen. */
export async function page(root, ctx) {
  await new Storage(root, ctx).open();
}

class Storage {
  constructor(root, ctx) {
    const { t } = ctx;
    this.root = root;
    this.ctx = ctx;
    this.shown = /** @type {any} */ (null);
    this.types = new Map();
    this.type = "";
    /** Names of the fields that somebody changed and has not saved. */
    this.typed = new Set();
    this.changes = new Changes(root, ctx, "storage", {
      title: t("Change of the storage"),
      done: t("The new storage settings are saved."),
      ended: () => this.ended(),
    });
  }

  async open() {
    const { document, look, may } = this.ctx;
    this.may = may("POST", "/storage");
    this.shown = await look("/storage");
    const schema = parameter(document, "POST", "/storage", "settings");
    this.types = offered(schema.properties?.storage ?? {}, this.shown?.options);
    const { type } = this.shown?.storage ?? {};
    this.type = this.types.has(type) ? type : ([...this.types.keys()][0] ?? "");
    this.draw();
    await this.changes.open();
  }

  async ended() {
    this.shown = await this.ctx.look("/storage");
    this.draw();
  }

  /** Whether what is saved is not in force yet. */
  get waits() {
    return this.shown?.["restart-needed"] === true;
  }

  draw() {
    const { html, nothing, render, t } = this.ctx;
    render(html`
      ${this.waits ? this.restart() : nothing}
      ${Changes.card(t("Progress"))}
      <section class="card">
        <h2>${this.waits ? t("Where the data are kept after a restart") : t("Where the data are kept")}</h2>
        ${this.present()}
      </section>
      <section class="card">
        <h2>${t("Storage settings")}</h2>
        ${this.may ? this.form() : onlyLooking(this.ctx)}
      </section>`);
  }

  /** What is set, with what the vendor put beside it. */
  present() {
    const { html, t } = this.ctx;
    const storage = this.shown?.storage;
    if (!storage) {
      return html`<p class="hint">${t("No storage settings were made here yet.")}</p>`;
    }
    return html`<dl class="facts">
      ${Object.entries(storage).map(([name, value]) => html`<dt>${this.label(name)}</dt><dd>${this.value(name, value)}</dd>`)}
    </dl>`;
  }

  label(name) {
    const { t } = this.ctx;
    return name === "type" ? t("Kind of storage") : Object.hasOwn(FIELDS, name) ? t(FIELDS[name][0]) : name;
  }

  value(name, value) {
    const { t } = this.ctx;
    if (value === MASK) {
      return t("kept secret");
    }
    return name === "type" ? this.typeName(value) : typeof value === "string" ? value : JSON.stringify(value);
  }

  typeName(type) {
    return Object.hasOwn(TYPES, type) ? this.ctx.t(TYPES[type][0]) : String(type);
  }

  form() {
    const { html, field, submit, t } = this.ctx;
    if (this.types.size === 0) {
      return html`<p class="hint">${t("This appliance does not say which storage it offers.")}</p>`;
    }
    const options = [...this.types.keys()].map((value) => ({ value, label: this.typeName(value) }));
    const choose = (event) => ((this.type = event.target.value), this.draw());
    const hint = Object.hasOwn(TYPES, this.type) ? t(TYPES[this.type][1]) : "";
    return html`<form @input=${(event) => this.typed.add(event.target.name)} @submit=${(event) => submit(event, (form) => this.save(form))}>
      ${field({ name: "type", label: t("Kind of storage"), hint, options, value: this.type, required: true, pointer: "/settings/storage/type", change: choose })}
      ${[...this.types.keys()].map((type) => this.fieldset(type))}
      <div class="outcome"></div>
      <p class="actions"><button class="primary">${t("Save")}</button></p>
    </form>`;
  }

  /** The fields of a type; those of the others wait with what was entered. */
  fieldset(type) {
    const { html } = this.ctx;
    const others = type !== this.type;
    return html`<fieldset class="grid" ?hidden=${others} ?disabled=${others}>
      <legend class="unseen">${this.typeName(type)}</legend>
      ${[...this.types.get(type)].map(([name, each]) => this.field(type, name, each))}
    </fieldset>`;
  }

  field(type, name, { schema, required }) {
    const { field, t } = this.ctx;
    const stored = this.shown?.storage?.type === type ? this.shown.storage[name] : undefined;
    const secret = isSecret(name, schema);
    const kept = secret && stored === MASK;
    const key = `${type}-${name}`;
    const typed = this.typed.has(key) ? this.root.querySelector("form").elements[key].value : undefined; // it stays
    const hint = kept ? t("Leave it empty to keep the present one.") : Object.hasOwn(FIELDS, name) ? t(FIELDS[name][1]) : (schema.description ?? "");
    return field({
      name: key,
      label: this.label(name),
      hint,
      type: secret ? "password" : "text",
      autocomplete: secret ? "new-password" : "off",
      value: typed ?? (secret || stored === undefined ? "" : String(stored)),
      required: required && !kept,
      pointer: type === this.type ? `/settings/storage/${name}` : "",
    });
  }

  /** Return the settings with what is in the form; a secret that was left empty stays what it is. */
  wanted(form) {
    const storage = { type: this.type };
    for (const [name, { schema }] of this.types.get(this.type)) {
      const secret = isSecret(name, schema);
      const value = form.elements[`${this.type}-${name}`].value;
      const kept = secret && value === "" && this.shown?.storage?.type === this.type && this.shown.storage[name] === MASK;
      const given = kept ? MASK : secret ? value : value.trim();
      if (given !== "") {
        storage[name] = given;
      }
    }
    return { storage };
  }

  async save(form) {
    const { ask, call, t } = this.ctx;
    const sent = new FormData(form);
    const settings = this.wanted(form);
    await call("POST", "/storage", { query: { "dry-run": 1 }, fields: { settings } });
    const sure = await ask({
      title: t("Change the storage?"),
      body: t("From its next restart on the appliance looks for its data on: {type}. Make a backup first if you are not sure that they are there.", { type: this.typeName(this.type) }),
      action: t("Change"),
      danger: true,
    });
    if (sure) {
      const { job } = await call("POST", "/storage", { fields: { settings } });
      saved(this.typed, form, sent);
      form.querySelectorAll("input[data-secret]").forEach((input) => this.typed.has(input.name) || (input.value = ""));
      this.changes.lead(job, form);
    }
  }

  restart() {
    const { html, nothing, may, restart, t } = this.ctx;
    return html`<section class="card" data-restart>
      <h2>${t("Restart to use the new storage")}</h2>
      <p>${t("The settings below are saved and take effect after a restart. Until then the appliance uses the storage of before.")}</p>
      ${may("POST", "/reboot")
        ? html`<p class="actions"><button type="button" class="primary" @click=${restart}>${t("Restart now")}</button></p>`
        : nothing}
    </section>`;
  }
}

const isSecret = (name, schema) => schema.writeOnly === true || name.includes("password");

/** Return the types that can be chosen, and of each its fields; `options` are those that the vendor offers. */
function offered(schema, options) {
  const types = new Map();
  for (const variant of schema.oneOf ?? schema.anyOf ?? []) {
    const [type] = variant.properties?.type?.enum ?? [variant.properties?.type?.const];
    const fields = Object.entries(variant.properties ?? {}).filter(([name]) => name !== "type");
    if (type && (!options || options.includes(type))) {
      types.set(type, new Map(fields.map(([name, each]) => [name, { schema: plain(each), required: variant.required?.includes(name) }])));
    }
  }
  return types;
}

/** Return what a text may be, of a schema that takes a number, too. */
const plain = (schema) => (schema.anyOf ?? schema.oneOf ?? []).find((each) => each.type === "string") ?? schema;
