// The parts of a plugin's screen that do something: forms, and questions that are answered at once.

import { Fields } from "./forms.js";
import { isJobState, shown } from "./values.js";
import { card } from "./plugin_shown.js";

const BODIES = ["multipart/form-data", "application/x-www-form-urlencoded"];

/** Return the schema of all that a request needs, and which of it is part of the path or the query. */
function needs(operation) {
  const body = BODIES.map((media) => operation?.requestBody?.content?.[media]?.schema).find(Boolean) ?? {};
  const outside = (operation?.parameters ?? []).filter((each) => each.in === "path" || each.in === "query");
  const inPath = outside.filter((each) => each.in === "path").map((each) => each.name);
  const properties = Object.fromEntries(outside.map((each) => [each.name, { description: each.description, ...each.schema }]));
  const required = outside.filter((each) => each.required).map((each) => each.name);
  return {
    inPath,
    schema: { ...body, type: "object", properties: { ...properties, ...body.properties }, required: [...required, ...(body.required ?? [])] },
  };
}

/** Return the path with its parameter, and the values that are left. */
function placed(path, values, inPath) {
  const filled = inPath.reduce((text, name) => text.replace(`{${name}}`, encodeURIComponent(values[name] ?? "")), path);
  return [filled, Object.fromEntries(Object.entries(values).filter(([name]) => !inPath.includes(name)))];
}

/** A form that makes a request and follows the job that it starts. */
export function formPart(state, part, id, operation) {
  const { ctx } = state;
  const { inPath, schema } = needs(operation);
  const fields = new Fields({ schema, document: ctx.document, titles: part.titles, id, redraw: () => state.draw() });
  return new Form(state, part, operation, fields, inPath);
}

class Form {
  constructor(state, part, operation, fields, inPath) {
    this.state = state;
    this.part = part;
    this.fields = fields;
    this.inPath = inPath;
    this.progress = null;
    this.answer = undefined;
    this.wasRead = false;
    const starts = operation?.["x-starts"]?.job;
    this.starts = new Set(starts ? [starts] : []);
    this.place = document.createElement("div");
  }

  /** Begin with what is in force, where the same path shows it. */
  load() {
    const known = this.state.answers.get(this.part.path);
    if (!this.wasRead && known && typeof known === "object") {
      this.fields.initial = known;
    }
    this.wasRead = true;
  }

  view() {
    const { ctx } = this.state;
    const { html, nothing, t, submit, message, bytes, percent } = ctx;
    const { part, progress } = this;
    const title = part.title || this.action();
    if (!this.wasRead) {
      return nothing; // what is in force would take the place of what is typed meanwhile
    }
    return card(ctx, title, html`
      <form @submit=${(event) => submit(event, (form) => this.send(form))} aria-label=${t(title)}>
        ${this.fields.view()}
        <div class="outcome"></div>
        ${progress
          ? html`<p class="progress"><progress max=${progress.total} .value=${progress.sent} aria-label=${t("Sending")}></progress>
              <span class="figures">${percent(progress.sent / (progress.total || 1))} · ${bytes(progress.sent)}</span></p>`
          : nothing}
        <p class="actions"><button class=${part.method === "DELETE" ? "danger" : "primary"}>${this.action()}</button></p>
      </form>
      ${this.answer === undefined ? nothing : html`${message("good", part.done ? t(part.done) : t("Done."))}${this.facts()}`}
      ${this.place}`);
  }

  /** The text of the button. */
  action() {
    const { t } = this.state.ctx;
    if (this.part.action) {
      return t(this.part.action);
    }
    return this.part.method === "DELETE" ? t("Remove") : this.starts.size || isJobState(this.state.answers.get(this.part.path)) ? t("Start") : t("Send");
  }

  facts() {
    const { nothing, t } = this.state.ctx;
    const isPlain = typeof this.answer === "object" && this.answer !== null && !Array.isArray(this.answer);
    const left = isPlain ? Object.keys(this.answer).filter((key) => key !== "Status") : [this.answer].filter(Boolean);
    return left.length ? shown(this.answer, { title: t("Answer") }) : nothing;
  }

  async send(form) {
    const { ctx } = this.state;
    const { part } = this;
    const [path, fields] = placed(part.path, this.fields.values(form), this.inPath);
    this.answer = undefined;
    if (!(await this.agreed())) {
      return;
    }
    const sends = Object.values(fields).some((value) => value instanceof File);
    const answer = await (sends ? this.upload(path, fields) : ctx.call(part.method, path, { fields }));
    if (answer?.job) {
      this.state.trials.forEach((trial) => trial.mine(part.path, answer.job));
      this.follow(answer.job);
    } else {
      this.answer = answer;
      this.state.reload();
    }
    this.state.draw();
  }

  async agreed() {
    const { ask, signal, t } = this.state.ctx;
    const { question, method } = this.part;
    const asked = question ? t(question) : method === "DELETE" ? t("This cannot be taken back.") : "";
    return !asked || (await ask({ signal, title: `${this.action()}?`, body: asked, action: this.action(), danger: true }));
  }

  async upload(path, fields) {
    const tell = (sent, total) => {
      this.progress = { sent, total };
      this.state.draw();
    };
    try {
      return await this.state.ctx.upload(this.part.method, path, fields, tell);
    } finally {
      this.progress = null;
      this.state.draw();
    }
  }

  /** Show a job, and then what it has changed. */
  async follow(id) {
    const { state, part, place } = this;
    const { ctx } = state;
    if (state.job === id) {
      return;
    }
    state.job = id;
    try {
      await ctx.job(place, id, { title: part.title ? ctx.t(part.title) : ctx.title, done: part.done ? ctx.t(part.done) : undefined });
      state.reload();
    } catch (error) {
      if (!ctx.signal.aborted) {
        ctx.draw(ctx.alert(error), place);
      }
    }
  }
}

/** A form whose answer is shown beneath it, and that changes nothing. */
export function questionPart(state, part, id, operation) {
  const { ctx } = state;
  const { html, nothing, t, submit, look } = ctx;
  const { inPath, schema } = needs(operation);
  const fields = new Fields({ schema, document: ctx.document, id, redraw: () => state.draw() });
  const title = part.title || t("Look up");
  let answer;
  const ask = async (form) => {
    const [path, query] = placed(part.path, fields.values(form), inPath);
    answer = undefined;
    answer = await look(path, { query });
    state.draw();
  };
  return {
    view: () => card(ctx, title, html`
      <form @submit=${(event) => submit(event, ask)} aria-label=${t(title)}>
        ${fields.view()}
        <div class="outcome"></div>
        <p class="actions"><button>${t("Show")}</button></p>
      </form>
      ${answer === undefined ? nothing : shown(answer, { title: t(title) })}`),
  };
}
