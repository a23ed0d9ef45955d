// Updating the appliance with a package of the vendor.

import { UnreachableError } from "../api.js";
import { checking } from "../course.js";
import * as notes from "../notes.js";
import { forget, pause, sendFile, sendForm } from "../sending.js";
import * as view from "./update_view.js";

const TYPE = "update";

/** Show the screen. */
export async function page(root, ctx) {
  const screen = new Screen(ctx);
  const [version, last] = await Promise.all([installed(ctx), newest(ctx)]);
  screen.version = version;
  screen.draw();
  if (last) {
    await screen.follow(last);
  }
}

async function installed({ may, look }) {
  return may("GET", "/version") ? ((await look("/version"))?.version ?? null) : null;
}

/** The last update, which somebody else may have started. */
async function newest({ may, call, look }) {
  if (!may("GET", "/jobs")) {
    const status = may("GET", "/update") ? await look("/update") : null;
    return status?.status ? { id: null, type: TYPE, status: status.status } : null;
  }
  const { jobs } = await call("GET", "/jobs", { query: { type: TYPE, limit: 1 } });
  return jobs[0] ?? null;
}

/** What this tab knows of an update that it started: `{job, from, to}`, the versions null where they are not known. */
function own(job) {
  const known = notes.read(TYPE);
  return job !== null && known?.job === job ? known : null;
}

class Screen {
  constructor(ctx) {
    this.ctx = ctx;
    /** @type {"choosing" | "sending" | "ready" | "running"} */
    this.state = "choosing";
    this.version = null;
    this.file = null;
    this.upload = null;
    this.preview = null;
    /** Whether the appliance was asked to install the package, and has not said yet whether it does. */
    this.asked = false;
    /** What is said of the package that was sent here, and how the last update ended. */
    this.notice = ctx.nothing;
    this.outcome = ctx.nothing;
    this.ending = new AbortController();
    ctx.live.on("job", (job) => this.begun(job), ctx.signal);
    ctx.signal.addEventListener("abort", () => this.upload?.discard(), { once: true });
  }

  /** An update began, here or elsewhere. */
  begun(job) {
    if (job.type !== TYPE || job.status !== "running" || this.state === "running") {
      return;
    }
    if (!this.asked && (this.state === "ready" || this.state === "sending")) {
      this.ending.abort();
      this.giveWay();
    }
    this.follow(job).catch(this.ctx.report);
  }

  /** Somebody else was first. */
  giveWay() {
    this.notice = this.ctx.message("warn", this.ctx.t("Somebody else has just started an update. Your package was not installed."));
    this.drop();
  }

  draw() {
    const { html, nothing, render, may, t } = this.ctx;
    const choosing = this.state === "choosing" || this.state === "sending";
    render(html`
      ${this.version === null ? nothing : html`<p>${t("This appliance has version {version}.", { version: this.version })}</p>`}
      <div id="outcome">${this.notice}${this.outcome}</div>
      <div id="now"></div>
      ${choosing ? view.chooser(this.ctx, this.state === "sending", (form) => this.send(form)) : nothing}
      <div id="sending-place"></div>
      ${this.state === "ready" ? view.preview(this.ctx, this.file, this.preview, () => this.install(), () => this.discard()) : nothing}
      <div id="before"></div>
      ${may("GET", "/update/log") ? view.fullLog(this.ctx) : nothing}`);
  }

  place(id) {
    return /** @type {HTMLElement} */ (document.getElementById(id));
  }

  /** Send the package and ask what it would do; where it cannot be sent beforehand it is only named. */
  async send(form) {
    const { may, message, signal, t } = this.ctx;
    this.notice = this.ctx.nothing;
    this.outcome = this.ctx.nothing;
    if (await this.refused()) {
      return;
    }
    this.file = form.elements.package.files[0];
    this.ending = new AbortController();
    const ended = AbortSignal.any([signal, this.ending.signal]);
    try {
      if (may("POST", "/uploads")) {
        this.state = "sending";
        this.draw();
        this.upload = await sendFile(this.place("sending-place"), this.file, ended);
        this.preview = await this.check(ended);
      }
      this.state = "ready";
    } catch (error) {
      this.outcome = error.name === "AbortError" && !ended.aborted ? message("info", t("Sending was cancelled. The appliance keeps nothing of the file.")) : this.outcome;
      await this.keepOnly(error);
      throw error;
    } finally {
      this.state = this.state === "sending" ? "choosing" : this.state;
      if (!signal.aborted) {
        this.draw();
      }
    }
    this.place("preview").focus();
  }

  /** Ask what the package would do. */
  async check(ended) {
    const { call, draw, nothing, t } = this.ctx;
    const cancelling = new AbortController();
    const place = this.place("sending-place");
    const text = t("The appliance checks who signed the package and what is in it. Nothing is changed yet.");
    draw(checking(t("Checking the package"), text, () => cancelling.abort()), place);
    try {
      return await call("POST", "/update", {
        query: { "dry-run": 1 },
        fields: { update: this.upload.field },
        signal: AbortSignal.any([ended, cancelling.signal]),
      });
    } finally {
      draw(nothing, place);
    }
  }

  /** Remove what was sent, unless the same file may go on where the connection broke. */
  async keepOnly(error) {
    if (!(error instanceof UnreachableError)) {
      await this.drop();
    }
    this.upload = null;
  }

  async drop() {
    const { upload } = this;
    this.upload = null;
    await upload?.discard();
  }

  /** Return whether there is an update already, which is shown; what else keeps from updating is an error. */
  async refused() {
    const { call, look, may, message, t } = this.ctx;
    if (!may("GET", "/jobs")) {
      if ((await look("/update"))?.status === "running") {
        throw new Error(t("An update is running already. Nothing was sent."));
      }
      return false;
    }
    const { jobs } = await call("GET", "/jobs", { query: { status: "running" } });
    if (jobs.some((job) => job.type === "restore")) {
      throw new Error(t("A backup is being restored. Please update when that has ended."));
    }
    const running = jobs.find((job) => job.type === TYPE);
    if (running || this.state === "running") { // it may have begun since the appliance looked
      this.outcome = message("warn", t("An update is running already. Nothing was sent."));
      this.draw();
      if (running) {
        this.begun(running);
      }
      return true;
    }
    return false;
  }

  async discard() {
    this.state = "choosing";
    this.draw();
    this.place("field-package").focus();
    await this.drop();
  }

  async install() {
    const { upload } = this;
    const to = this.preview?.["to-version"] ?? null;
    this.upload = null;
    this.asked = true;
    try {
      const { job } = upload ? await this.post(upload) : await this.sendAndInstall();
      notes.keep(TYPE, { job, from: this.version, to });
      if (this.state !== "running") {
        await this.follow({ id: job, type: TYPE, status: "running" });
      }
    } catch (error) {
      if (this.state !== "ready" && error instanceof UnreachableError) {
        throw error; // the update that began meanwhile may be this one
      }
      this.upload = upload;
      if (this.state === "ready") {
        throw error;
      }
      this.giveWay(); // somebody else's began meanwhile, and this one was refused
      this.draw();
    } finally {
      this.asked = false;
    }
  }

  /** Start the update; the key keeps one whose answer was lost from being started twice. */
  async post(upload) {
    upload.key ??= crypto.randomUUID();
    const answer = await this.ctx.call("POST", "/update", { fields: { update: upload.field }, headers: { "Idempotency-Key": upload.key } });
    forget(upload);
    return answer;
  }

  sendAndInstall() {
    return sendForm(this.place("sending-place"), this.file, this.ctx.signal, "/update", { update: this.file });
  }

  /** Follow an update to its end; this page may be loaded anew meanwhile, as the update may renew the service. */
  async follow(known) {
    const { may, t } = this.ctx;
    const running = known.status === "running";
    this.state = running ? "running" : this.state;
    this.draw();
    if (running) {
      this.ctx.draw(this.ctx.nothing, this.place("before")); // that is not the last one any more
    }
    const course = view.course(this.ctx, this.place(running || own(known.id) ? "now" : "before"));
    // Whose update it is may be known only later: its job can be told of before the answer that names it comes.
    const title = () => {
      const to = own(known.id)?.to;
      return to ? t("Update to version {version}", { version: to }) : t("Update");
    };
    this.preview = null;
    const record = may("GET", "/jobs") ? await course.follow(known, { title }) : await course.watch("/update", title);
    this.state = this.state === "running" ? "choosing" : this.state;
    if (record?.status === "success") {
      await this.verify(own(known.id), running);
    } else if (record && (running || own(known.id))) {
      this.version = await this.present();
      this.outcome = view.failure(this.ctx, record, this.version) ?? this.ctx.nothing;
    }
    this.draw();
  }

  /** Tell of a success only where the version says so, too. */
  async verify(mine, wasRunning) {
    const before = mine?.from ?? this.version;
    this.version = await this.present();
    if (mine || wasRunning) {
      this.outcome = view.outcome(this.ctx, before, this.version, mine?.to ?? null);
    }
  }

  /** The version in force, once the appliance answers. */
  async present() {
    for (;;) {
      try {
        return await installed(this.ctx);
      } catch (error) {
        if (!(error instanceof UnreachableError)) {
          throw error;
        }
      }
      await pause(this.ctx.signal);
    }
  }
}
