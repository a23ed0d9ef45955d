// The network settings. What is sent is all of `network` that GET /settings shows, with the fields of the form in their
// places; the settings of the application stay as they are.

import { place, whereTo } from "./address.js";
import { Changes, onlyLooking, saved, told } from "./changes.js";
import { inOrder, LABELS, MODES } from "../names.js";
import { Trial } from "./trial.js";

const FIXED = ["ip_address", "netmask", "gateway"];
const SHOWN = ["hostname", "interface", "ntpserver", "dns1", "dns2", ...FIXED];

/** Show the screen. */
export async function page(root, ctx) {
  await new Network(root, ctx).open();
}

class Network {
  constructor(root, ctx) {
    const { t } = ctx;
    this.root = root;
    this.ctx = ctx;
    this.settings = {};
    this.mode = "dhcp";
    this.moved = /** @type {any} */ (null);
    /** Names of the fields that somebody changed and has not saved. */
    this.typed = new Set();
    this.trial = new Trial(ctx, () => this.draw(), "/settings", {
      title: t("Keep the new settings?"),
      told: t("They are in force on trial. Unless somebody confirms them, the former ones come back."),
      restored: t("The change was taken back: the former settings are in force again."),
      keep: t("Keep this change"),
    });
    this.changes = new Changes(root, ctx, "settings", {
      title: t("Change of the settings"),
      done: t("The new settings are in force."),
      began: (id) => this.trial.begin(id),
      ended: (record) => this.ended(record),
    });
  }

  async open() {
    const { look, may } = this.ctx;
    this.may = may("POST", "/settings");
    this.take(await look("/settings"));
    this.draw();
    await this.changes.open();
  }

  /** Take what the appliance shows: the settings in force, and beside them those on trial. */
  take(shown) {
    const { pending, ...settings } = shown ?? {};
    this.settings = settings;
    if (!this.typed.has("mode")) {
      this.mode = settings.network?.mode === "static" ? "static" : "dhcp";
    }
    this.trial.take(pending);
  }

  async ended(record) {
    const hasWaited = this.trial.pending !== null;
    this.trial.end(record);
    this.draw(); // what was on trial is no question any more, however long the next answer takes
    const isDecided = record.status === "success" || hasWaited;
    if (isDecided || (this.trial.isOfOthers && !this.typed.size)) {
      this.take(await this.ctx.look("/settings"));
    }
    this.draw();
    if (isDecided) {
      this.refill(); // where it failed at once, what was entered stays, to be corrected
    }
  }

  /** Show what is in force, also where a field has what somebody else changed; what is being typed stays. */
  refill() {
    const form = this.root.querySelector("form");
    for (const name of SHOWN.filter((each) => !this.typed.has(each))) {
      form.elements[name].value = this.value(name);
    }
  }

  draw() {
    const { html, nothing, render, t } = this.ctx;
    render(html`
      ${this.trial.pending || this.trial.isRestored ? this.trial.view(this.pending()) : this.whereItGoes()}
      ${Changes.card(t("Progress"))}
      <section class="card">
        <h2>${t("Network settings")}</h2>
        ${this.may ? nothing : onlyLooking(this.ctx)}
        <form @input=${(event) => this.typed.add(event.target.name)} @submit=${(event) => this.ctx.submit(event, (form) => this.save(form))}>
          ${this.fields()}
        </form>
      </section>`);
  }

  /** What the settings on trial change, and where they are to be confirmed. */
  pending() {
    const { html, nothing, t } = this.ctx;
    const { pending } = this.trial;
    if (!pending) {
      return nothing;
    }
    const changes = compared(this.settings, pending.settings ?? {});
    return html`${changes.length ? this.list(changes) : html`<p>${t("Nothing differs from the former settings.")}</p>`} ${this.pendingPlace()}`;
  }

  /** Where the settings on trial are to be confirmed. */
  pendingPlace() {
    const target = whereTo(this.trial.pending?.settings?.network ?? {}, this.settings.network) ?? this.moved;
    return target ? place(this.ctx, target) : this.ctx.nothing;
  }

  /** Where the dashboard goes with a change of this page. */
  whereItGoes() {
    const { html, nothing, t } = this.ctx;
    const failed = this.trial.outcome && this.trial.outcome.status !== "success";
    return this.moved && !failed
      ? html`<section class="card"><h2>${t("Where the dashboard is now")}</h2>${place(this.ctx, this.moved)}</section>`
      : nothing;
  }

  fields() {
    const { html, nothing, t } = this.ctx;
    return html`
      <fieldset class="grid" ?disabled=${!this.may}>
        <legend class="unseen">${t("This appliance")}</legend>
        ${this.field("hostname", { required: true, hint: t("The name of the appliance, such as appliance.example.com.") })}
        ${this.field("interface", { required: true, hint: t("The network card, such as eth0.") })}
        ${this.field("ntpserver", { hint: t("The server that the clock is set by, such as pool.ntp.org.") })}
      </fieldset>
      ${this.choice()}
      <fieldset class="grid" ?hidden=${this.mode !== "static"} ?disabled=${!this.may || this.mode !== "static"}>
        <legend class="unseen">${t("Fixed address")}</legend>
        ${this.field("ip_address", { required: true, hint: t("IPv4 or IPv6, such as 192.168.1.10.") })}
        ${this.field("netmask", { required: true, label: t("Netmask or prefix length"), hint: t("Such as 255.255.255.0 or 24.") })}
        ${this.field("gateway", { required: true, hint: t("The router of this network, such as 192.168.1.1.") })}
      </fieldset>
      <fieldset class="grid" ?disabled=${!this.may}>
        <legend class="unseen">${t("Name servers")}</legend>
        ${this.field("dns1", { hint: t("Used with a fixed address; kept for later with DHCP.") })}
        ${this.field("dns2", {})}
      </fieldset>
      <div class="outcome"></div>
      ${this.may ? html`<p class="actions"><button class="primary">${t("Save")}</button></p>` : nothing}`;
  }

  /** Return what is in force, as text. */
  value(name) {
    const value = this.settings.network?.[name];
    return ["string", "number"].includes(typeof value) ? String(value) : "";
  }

  field(name, more) {
    const typed = this.typed.has(name) ? this.root.querySelector("form").elements[name].value : undefined; // it stays
    return this.ctx.field({ name, label: this.ctx.t(LABELS[name]), value: typed ?? this.value(name), pointer: `/settings/network/${name}`, ...more });
  }

  /** Whether the settings in force have an address. */
  get isFixed() {
    return this.settings.network?.mode === "static";
  }

  choice() {
    const { html, nothing, t } = this.ctx;
    const option = (value, label) => html`<p class="choice">
      <input type="radio" id="mode-${value}" name="mode" value=${value} .checked=${this.mode === value}
        @change=${() => this.choose(value)}>
      <label for="mode-${value}">${label}</label>
    </p>`;
    return html`<fieldset ?disabled=${!this.may}>
      <legend>${t("Where the address comes from")}</legend>
      <div class="choices">${option("dhcp", t("Automatic (DHCP)"))} ${option("static", t("Fixed address"))}</div>
      ${this.mode === "static" ? nothing : html`<p class="hint">${this.isFixed ? t("The address comes from your network.") : t("The address comes from your network. At present this page reaches the appliance at {address}.", { address: location.hostname })}</p>`}
    </fieldset>`;
  }

  choose(mode) {
    this.mode = mode;
    this.draw();
  }

  /** Return the network settings with what is in the form; an empty field is a key that is not there. */
  wanted(form, present) {
    const network = { ...present, mode: this.mode };
    for (const name of SHOWN) {
      const value = form.elements[name].value.trim();
      const counts = value && (this.mode === "static" || !FIXED.includes(name));
      delete network[name];
      if (counts) {
        network[name] = name === "netmask" ? value.replace(/^\d$/, "/$&") : value;
      }
    }
    return network;
  }

  async save(form) {
    const { ask, call, t } = this.ctx;
    const present = await this.present();
    const sent = new FormData(form);
    const network = this.wanted(form, present);
    const settings = { network };
    const preview = await call("POST", "/settings", { query: { "dry-run": 1 }, fields: { settings } });
    const target = whereTo(network, present);
    const sure = await ask({
      title: t("Change the network settings?"),
      body: this.question(preview, differences(preview, present, network), target),
      action: t("Change"),
      danger: Boolean(preview.warnings?.length),
    });
    if (!sure) {
      return;
    }
    if (JSON.stringify(await this.present()) !== JSON.stringify(present)) {
      throw new Error(t("Somebody else has changed these settings meanwhile. Save again to see what would change now."));
    }
    this.moved = target;
    const request = call("POST", "/settings", { query: this.trial.query, fields: { settings } });
    const { job } = await request.catch((error) => this.lost(error));
    this.trial.mine(job);
    saved(this.typed, form, sent);
    this.draw();
    this.changes.lead(job, form);
  }

  /** The network settings in force. */
  async present() {
    return (await this.ctx.look("/settings"))?.network ?? {};
  }

  /** Where no answer came, the change may have been made, and the address be another one: that is shown. */
  lost(error) {
    if (error.name === "UnreachableError") {
      this.typed.clear();
    } else {
      this.moved = null;
    }
    this.draw();
    throw error;
  }

  question(preview, changes, target) {
    const { html, nothing, t } = this.ctx;
    return html`
      ${told(preview.warnings)}
      ${changes.length ? this.list(changes) : html`<p>${t("Nothing differs from the present settings. They are put into force once more.")}</p>`}
      ${target ? html`<p>${target.address ? t("Afterwards the dashboard is at {address}.", target) : t("Its new address comes from your network: the appliance shows it on its console.")}</p>` : nothing}
      <p>${this.trial.isOffered
        ? this.trial.promise()
        : t("Please check every line: if the appliance cannot be reached with these settings, only its console helps.")}</p>`;
  }

  list(changes) {
    const { html, t } = this.ctx;
    const known = (table, key, otherwise) => (Object.hasOwn(table, key) ? t(table[key]) : otherwise);
    const key = ({ path }) => path.replace(/^network\./, "");
    const value = (each) => (each === undefined || each === null ? t("nothing") : known(MODES, each, shown(each)));
    return html`<dl class="facts">
      ${changes.toSorted((a, b) => inOrder(key(a), key(b))).map((each) => html`<dt>${known(LABELS, key(each), each.path)}</dt>
        <dd>${t("{to}, before: {from}", { to: value(each.to), from: value(each.from) })}</dd>`)}
    </dl>`;
  }
}

const shown = (value) => (typeof value === "string" ? value : JSON.stringify(value));

/** What a change changes: as the appliance says, where it does. */
function differences(preview, present, network) {
  if (Array.isArray(preview.changes)) {
    return preview.changes;
  }
  return ["mode", ...SHOWN]
    .map((name) => ({ path: `network.${name}`, from: present[name], to: network[name] }))
    .filter(({ from, to }) => String(from ?? "") !== String(to ?? ""));
}

/** Return `{path, from, to}` of each value that differs between two settings. */
function compared(former, coming) {
  const [from, to] = [former, coming].map((each) => new Map(leaves(each)));
  return [...new Set([...from.keys(), ...to.keys()])]
    .map((path) => ({ path, from: from.get(path), to: to.get(path) }))
    .filter((each) => JSON.stringify(each.from) !== JSON.stringify(each.to));
}

/** Return the values of nested objects with their paths. */
function leaves(value, path = "") {
  const isObject = typeof value === "object" && value !== null && !Array.isArray(value);
  return isObject
    ? Object.entries(value).flatMap(([name, each]) => leaves(each, path ? `${path}.${name}` : name))
    : [[path, value]];
}
