// Restarting the appliance: the question before it, and what is said until it is back.

import * as api from "./api.js";
import { ask } from "./dialogs.js";
import { follow } from "./jobs.js";
import * as live from "./live.js";
import { jobName } from "./names.js";
import * as notes from "./notes.js";
import { duration, sleep, t } from "./text.js";
import { alert } from "./widgets.js";
import { html, nothing } from "./vendor/lit-html.js";

const TYPE = "reboot";
const NOTE = "restarted";
/** Jobs beside which the appliance refuses to restart. */
const REFUSING = ["update", "restore"];
/** Jobs that a restart waits for; it may break off the others. */
const AWAITED = ["settings", "storage", "certs", "license", "persist"];
/** Milliseconds for which "back" is told, and after which an appliance that never went away has not restarted. */
const SAID_FOR = 30_000;
const PATIENCE = 120_000;

export class Restarting {
  /**
   * @param {string} machine which appliance this is, for people.
   * @param {() => void} redraw draws the frame.
   * @param {(method: string, path: string) => boolean} may
   * @param {AbortSignal} signal of the login.
   */
  constructor(machine, redraw, may, signal) {
    this.machine = machine;
    this.redraw = redraw;
    this.may = may;
    this.signal = signal;
    /** When it began, in milliseconds; 0 while nothing restarts. */
    this.since = 0;
    this.job = "";
    this.lost = false;
    /** Whether it is asked for here just now: the event of the job may come before the answer. */
    this.asked = false;
    /** Whether somebody is asked, or told why not. */
    this.asking = false;
    /** @type {any} */
    this.note = nothing;
    /** Whether the note says that the appliance is back. */
    this.isBack = false;
    live.on("job", (job) => job.type === TYPE && job.status === "running" && this.begun(job.id), signal);
    live.on("reach", (reached) => (this.lost = this.lost || !reached), signal);
  }

  /** Say after a reload of the page, once there is a frame to say it in, that a restart ended. */
  recall() {
    if (notes.read(NOTE)) {
      notes.keep(NOTE, null);
      this.say(t("The appliance is back."), "good");
    }
  }

  /** What the frame shows; nothing while nothing is to be said. */
  view() {
    if (!this.since) {
      return this.note;
    }
    const text = live.state.reached
      ? t("The appliance is going to restart. This page stays here and comes back by itself.")
      : t("The appliance is restarting. This page comes back by itself.");
    return html`<p>${text} <span aria-hidden="true">${duration((Date.now() - this.since) / 1000)}</span></p>`;
  }

  /** Remember over a reload of the page that a restart ended, or has just ended. */
  handOver() {
    if (this.since || this.isBack) {
      notes.keep(NOTE, true);
    }
  }

  /** Ask, and restart; once at a time, however often the button is clicked. */
  async start() {
    if (this.asking) {
      return;
    }
    this.asking = true;
    try {
      const running = await this.running();
      if (running.some((job) => REFUSING.includes(job.type))) {
        await ask({ signal: this.signal, title: t("The appliance cannot restart now"), body: refusal(running), action: t("Close"), cancel: false });
      } else if (await ask({ signal: this.signal, title: t("Restart {machine}?", { machine: this.machine }), body: meaning(running), action: t("Restart"), danger: true })) {
        this.asked = true;
        this.begun((await api.call("POST", "/reboot")).job);
      }
    } catch (error) {
      await this.failed(error);
    } finally {
      this.asked = false;
      this.asking = false;
    }
  }

  async running() {
    if (!this.may("GET", "/jobs")) {
      return [];
    }
    return (await api.call("GET", "/jobs", { query: { status: "running" } })).jobs;
  }

  /** The appliance restarts, as was asked for here or elsewhere. */
  begun(id) {
    if (this.job === id) {
      return;
    }
    const { asked } = this;
    Object.assign(this, { job: id, since: Date.now(), lost: false, note: nothing });
    this.redraw();
    this.watch(id).catch((error) => {
      this.since = 0;
      this.redraw();
      return asked ? this.failed(error) : undefined;
    });
  }

  /** Wait until it was away and is there again. */
  async watch(id) {
    if (this.may("GET", `/jobs/${id}`)) {
      const record = await follow(id, (job) => this.looked(job.record), this.signal);
      if (record.status !== "success" && !this.lost) {
        throw new api.ApiError(0, record["error-message"] ?? t("It failed without a reason."), record["error-code"]);
      }
    }
    if (!this.lost) {
      await this.reach(() => this.lost, PATIENCE);
    }
    await this.reach(() => live.state.reached);
    this.since = 0;
    if (this.lost) {
      this.say(t("The appliance is back."), "good");
    } else {
      this.say(t("The appliance has not restarted: it was there all the time. Please ask your vendor."), "warn");
    }
  }

  /** A job that still runs after the connection was lost tells that this was no restart. */
  looked(record) {
    if (record.status === "running" && live.state.reached) {
      this.lost = false;
    }
  }

  /** Wait for something that changes with the connection. */
  async reach(isSo, milliseconds = Infinity) {
    const began = Date.now();
    do {
      await sleep(250);
      this.signal.throwIfAborted();
    } while (!isSo() && Date.now() - began <= milliseconds);
  }

  say(text, kind) {
    const note = html`<p class=${kind}>${text}</p>`;
    Object.assign(this, { note, isBack: kind === "good" });
    this.redraw();
    setTimeout(() => {
      if (this.note === note) {
        Object.assign(this, { note: nothing, isBack: false });
        this.redraw();
      }
    }, SAID_FOR);
  }

  async failed(error) {
    if (!this.signal.aborted && error.name !== "AbortError") {
      await ask({ signal: this.signal, title: t("The appliance was not restarted"), body: alert(error), action: t("Close"), cancel: false });
    }
  }
}

const names = (jobs) => html`<ul class="plain">${jobs.map((job) => html`<li>${jobName(job.type)}</li>`)}</ul>`;

/** What restarting means, and what becomes of the jobs that run. */
function meaning(running) {
  const awaited = running.filter((job) => AWAITED.includes(job.type));
  const broken = running.filter((job) => !AWAITED.includes(job.type) && job.type !== TYPE);
  return html`<p>${t("It is away for about a minute, and so is everything that it serves.")}</p>
    ${awaited.length ? html`<p>${t("This still runs, and the restart waits for it:")}</p>${names(awaited)}` : nothing}
    ${broken.length ? html`<p>${t("This still runs, and the restart may break it off:")}</p>${names(broken)}` : nothing}`;
}

function refusal(running) {
  return html`<p>${t("What runs now must not be interrupted. Please restart when it has ended:")}</p>
    ${names(running.filter((job) => REFUSING.includes(job.type)))}`;
}
