// The log viewer: a choice of logs, a search in what is shown, and new lines as they come.

import { follow } from "./jobs.js";
import { jobTitle } from "./names.js";
import { phrase, readableLog, sleep } from "./text.js";

/** Bytes of a log that are shown, the last ones. */
const SHOWN = 64 * 1024;
/** Logs of more than one job, which grow while one of these types runs. */
const SHARED = [
  { path: "/update/log", title: phrase("All updates"), types: ["update"] },
  { path: "/backup/log", title: phrase("All backups and restores"), types: ["backup", "backup-delete", "restore"] },
];
/** Milliseconds between two readings of such a log. */
const READ_EACH = 2000;

export class LogViewer {
  /**
   * @param {any} ctx what a screen gets.
   * @param {Element} root its place.
   * @param {() => void} draw draws the screen.
   */
  constructor(ctx, root, draw) {
    this.ctx = ctx;
    this.root = root;
    this.draw = draw;
    /** @type {{path: string, title: string, job?: string, types?: string[]}[] | null} */
    this.logs = null;
    this.chosen = null;
    /** What the log holds; null until it is read. */
    this.text = /** @type {string | null} */ (null);
    this.wanted = "";
    this.runs = false;
    this.trouble = null;
    this.reading = new AbortController();
    ctx.signal.addEventListener("abort", () => this.reading.abort());
  }

  /** Find out which logs there are: those of more than one job, and of the last job of each type. */
  async list() {
    const { t, may, call, dateTime, signal } = this.ctx;
    const shared = SHARED.filter((each) => may("GET", each.path)).map((each) => ({ ...each, title: t(each.title) }));
    const last = new Map();
    try {
      const { jobs } = may("GET", "/jobs") ? await call("GET", "/jobs") : { jobs: [] };
      jobs.forEach((job) => last.has(job.type) || last.set(job.type, job));
    } catch (error) {
      signal.throwIfAborted();
      this.trouble = error;
    }
    const single = [...last.values()].map((job) => ({
      path: `/jobs/${job.id}/log`,
      job: job.id,
      title: t("{title}, {when}", { title: jobTitle(job.type), when: dateTime(job.started) }),
    }));
    this.logs = [...single, ...shared];
    this.draw();
  }

  /** Show another log, until the next one is chosen. */
  async choose(path) {
    this.reading.abort();
    this.reading = new AbortController();
    const { signal } = this.reading;
    Object.assign(this, { chosen: this.logs.find((each) => each.path === path) ?? null, text: null, runs: false, trouble: null });
    this.draw();
    try {
      await (this.chosen?.job ? this.followJob(signal) : this.chosen && this.followShared(signal));
    } catch (error) {
      if (!signal.aborted) {
        Object.assign(this, { trouble: error, runs: false });
        this.draw();
      }
    }
  }

  async followJob(signal) {
    const take = ({ record, log }) => {
      Object.assign(this, { text: log, runs: record.status === "running" });
      this.show();
    };
    await follow(this.chosen.job, take, signal);
  }

  /** Read a log again while a job runs that writes to it. */
  async followShared(signal) {
    do {
      this.text = await this.read(signal);
      this.runs = [...this.ctx.live.state.jobs.values()].some((job) => job.status === "running" && this.chosen.types.includes(job.type));
      this.show();
      await sleep(READ_EACH);
    } while (this.runs && !signal.aborted);
  }

  /** Read the end of a log, from the first whole line on. */
  async read(signal) {
    try {
      const response = await this.ctx.send("GET", this.chosen.path, { headers: { Range: `bytes=-${SHOWN}` }, signal });
      const text = await response.text();
      const begins = !/bytes [1-9]/.test(response.headers.get("Content-Range") ?? "");
      return begins ? text : text.slice(text.indexOf("\n") + 1);
    } catch (error) {
      // Of an empty file there is no last part, and a log to which nothing was written is not there.
      if (error.status === 404 || error.status === 416) {
        return "";
      }
      throw error;
    }
  }

  /** Draw, and stay at the end unless the reader has left it. */
  show() {
    if (this.reading.signal.aborted) {
      return;
    }
    this.draw();
    /** @type {HTMLElement | null} */
    const log = this.root.querySelector(".viewer .log");
    if (log && !log.dataset.held) {
      log.scrollTop = log.scrollHeight;
    }
  }

  view() {
    const { html, nothing, t, alert, field } = this.ctx;
    const choices = [{ value: "", label: t("Choose a log") }, ...(this.logs ?? []).map((each) => ({ value: each.path, label: each.title }))];
    return html`<section class="card viewer">
      <h2>${t("Read logs")}</h2>
      ${this.logs?.length === 0 ? html`<p class="hint">${t("There are no logs yet: each update, backup or change of settings makes one.")}</p>` : nothing}
      ${this.logs?.length
        ? html`<div class="grid">
            ${field({ name: "log", label: t("Log"), required: true, options: choices, value: this.chosen?.path ?? "", change: (event) => this.choose(event.target.value) })}
            ${this.chosen ? this.search() : nothing}
          </div>`
        : nothing}
      ${this.trouble ? alert(this.trouble) : nothing}
      ${this.chosen && !this.trouble ? this.shown() : nothing}
    </section>`;
  }

  search() {
    const { html, t } = this.ctx;
    const look = (event) => {
      this.wanted = event.target.value;
      this.draw();
    };
    return html`<p class="field">
      <label for="log-search">${t("Search in this log")}</label>
      <input id="log-search" type="search" autocomplete="off" spellcheck="false" .value=${this.wanted} @input=${look}>
    </p>`;
  }

  /** The log, or the lines of it that hold what is searched for. */
  shown() {
    const { html, t, plural, logView, nothing } = this.ctx;
    if (!this.text) {
      return html`<p class="hint" role="status">${this.text === null ? t("Loading …") : t("This log is empty.")}</p>`;
    }
    const pattern = this.wanted ? new RegExp(escaped(this.wanted), "giu") : null;
    const found = pattern ? readableLog(this.text).split("\n").filter((line) => line.search(pattern) >= 0) : [];
    return html`
      <p class="hint" role="status">${pattern
        ? plural(found.length, "{count} line found", "{count} lines found")
        : this.runs ? t("It is running: new lines appear by themselves.") : t("These are the last lines of the log.")}</p>
      ${pattern
        ? found.length
          ? html`<pre class="log" tabindex="0" aria-label=${t("Lines found")}>${found.map((line) => html`${marked(html, line, pattern)}${"\n"}`)}</pre>`
          : nothing
        : logView(this.text, this.chosen.title)}`;
  }
}

/** Return a pattern of a text as it is. */
const escaped = (text) => text.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");

/** Return a line in which all that was found is marked. */
function marked(html, line, pattern) {
  const parts = [];
  let end = 0;
  for (const match of line.matchAll(pattern)) {
    parts.push(line.slice(end, match.index), html`<mark>${match[0]}</mark>`);
    end = match.index + match[0].length;
  }
  return [...parts, line.slice(end)];
}
