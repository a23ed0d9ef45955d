// What the appliance does and did: its jobs, what was sent to it for them, and who asked for what.

import { entries } from "../audit.js";
import { jobTitle, userTitle } from "../names.js";
import { said } from "../sentences.js";
import { now } from "../text.js";
import { Uploads } from "./uploads.js";
import { html, nothing } from "../vendor/lit-html.js";

const PAGE = 20;
/** How many are kept of a list that grows by itself; then it begins again with its first page. */
const KEPT = 300;

/** Show the screen. */
export async function page(root, ctx) {
  const { html, nothing, render, live, signal, may } = ctx;
  const jobs = new Jobs(ctx);
  const audit = may("GET", "/audit") ? new Audit(ctx) : null;
  const uploads = may("GET", "/uploads") ? new Uploads(ctx) : null;
  const draw = () => signal.aborted || render(html`${jobs.view()}${uploads?.view() ?? nothing}${audit?.view() ?? nothing}`);
  jobs.draw = draw;
  live.on("job", (job) => jobs.hear(job), signal);
  live.on("state", () => jobs.again(), signal);
  live.every(1000, () => jobs.anyRuns() && draw(), signal);
  await jobs.read();
  if (uploads) {
    uploads.draw = draw;
    await uploads.read();
  }
  if (audit) {
    audit.draw = draw;
    live.on("audit", (line) => audit.hear(line), signal);
    live.on("state", () => audit.again(), signal);
    await audit.read();
  }
}

/** A list that comes in pages; its methods ask once at a time. */
class Paged {
  constructor(ctx, path, key) {
    this.ctx = ctx;
    this.path = path;
    this.key = key;
    this.draw = () => {};
    /** @type {any[] | null} */
    this.items = null;
    this.next = null;
    this.trouble = null;
    this.asking = null;
    /** What was told while an answer is awaited, which may be from before that; null while none is. */
    this.heard = /** @type {any[] | null} */ (null);
  }

  /** Read the first page again, once what is being read is there. */
  read() {
    return this.ask({ limit: PAGE }, (found) => {
      this.items = found;
    });
  }

  /** Read it for nobody who waits; who leaves the screen ends that. */
  again() {
    this.read().catch(this.ctx.report);
  }

  /** Read the page after the last one that is shown. */
  more() {
    return this.ask({ limit: PAGE, before: this.next }, (found) => {
      this.items = [...this.items, ...found];
    });
  }

  async ask(query, take) {
    await this.asking?.catch(() => {});
    this.asking = this.answer(query, take);
    await this.asking;
  }

  async answer(query, take) {
    this.heard = [];
    try {
      const answer = await this.ctx.call("GET", this.path, { query });
      take(answer[this.key]);
      this.heard.forEach((each) => this.take(each));
      this.next = answer.next;
      this.trouble = null;
    } catch (error) {
      this.ctx.signal.throwIfAborted();
      this.trouble = error;
    }
    this.heard = null;
    this.draw();
  }

  /** Hear what is told meanwhile. */
  hear(item) {
    this.heard?.push(item);
    if (this.items !== null) {
      this.take(item);
      this.draw();
    }
  }

  /** Take what was told into the list. */
  take(_item) {}

  /** Add what is new. */
  add(item) {
    this.items.unshift(item);
    if (this.items.length > KEPT) {
      this.again();
    }
  }

  /** The titles of columns; roles keep a table one where its rows are shown one below the other. */
  head(titles) {
    const { html } = this.ctx;
    return html`<thead role="rowgroup">
      <tr role="row">${titles.map((each) => html`<th scope="col" role="columnheader">${each}</th>`)}</tr>
    </thead>`;
  }

  /** What is shown of the list, `rows` of which there are some; `nothing` is said where there are none. */
  frame(title, nothing, rows) {
    const { html, t, alert, nothing: none } = this.ctx;
    return html`<section class="card">
      <h2>${title}</h2>
      ${this.trouble ? alert(this.trouble) : none}
      ${this.items === null && !this.trouble ? html`<p class="hint" role="status">${t("Loading …")}</p>` : none}
      ${this.items?.length === 0 ? html`<p class="hint">${nothing}</p>` : none}
      ${this.items?.length ? rows() : none}
      ${this.next ? html`<p class="actions"><button type="button" @click=${() => this.more()}>${t("Show older ones")}</button></p>` : none}
    </section>`;
  }
}

class Jobs extends Paged {
  constructor(ctx) {
    super(ctx, "/jobs", "jobs");
    this.opened = null;
    this.place = null;
    this.following = new AbortController();
  }

  anyRuns() {
    return this.items?.some((job) => job.status === "running");
  }

  /** Take what an event tells of a job. */
  take(job) {
    const index = this.items.findIndex((each) => each.id === job.id);
    if (index >= 0) {
      this.items[index] = { ...this.items[index], ...job };
    } else if (!this.items.length || job.id > this.items[0].id) {
      this.add(job);
    }
  }

  view() {
    const { html, t } = this.ctx;
    return this.frame(t("Tasks"), t("Nothing has run here yet. Updates, backups and changes of settings are listed here."), () => html`
      <div class="wide" tabindex="0" role="region" aria-label=${t("Tasks")}>
        <table class="stacked" role="table">
          ${this.head([t("What"), t("State"), t("Begun"), t("Took"), t("Who"), html`<span class="unseen">${t("Actions")}</span>`])}
          <tbody role="rowgroup">${this.items.map((job) => this.row(job))}</tbody>
        </table>
      </div>`);
  }

  row(job) {
    const { html, nothing, t, stateOf, dateTime, duration, percent } = this.ctx;
    const running = job.status === "running";
    const open = this.opened === job.id;
    const took = Math.max(0, (running ? now() : job.finished) - job.started);
    return html`<tr role="row" data-job=${job.id}>
        <th scope="row" role="rowheader">${jobTitle(job.type)}${job["error-message"] ? reason(job) : nothing}</th>
        <td role="cell">${stateOf(job.status)}${running ? html`<p class="figures">${percent(job.percentage / 100)}</p>` : nothing}</td>
        <td role="cell" class="when">${dateTime(job.started)}</td>
        <td role="cell" class="when">${duration(took)}</td>
        <td role="cell" class="who">${userTitle(job.user)}${job.client && job.client !== "-" ? html`<p class="hint">${t("from {address}", { address: job.client })}</p>` : nothing}</td>
        <td role="cell">
          <button type="button" aria-expanded=${open} aria-label=${t("Details of {title}, {when}", { title: jobTitle(job.type), when: dateTime(job.started) })}
            @click=${() => this.toggle(job)}>${t("Details")}</button>
        </td>
      </tr>
      ${open ? html`<tr role="row"><td role="cell" colspan="6" class="details">${this.place}</td></tr>` : nothing}`;
  }

  /** Open the details of a job, where it can be cancelled, too, or close them. */
  toggle(job) {
    this.following.abort();
    this.following = new AbortController();
    this.opened = this.opened === job.id ? null : job.id;
    this.place = document.createElement("div");
    if (this.opened) {
      const { place, ctx } = this;
      const { signal } = this.following;
      const failed = (error) => signal.aborted || ctx.draw(ctx.alert(error), place);
      ctx.job(place, job.id, { title: jobTitle(job.type), signal }).catch(failed);
    }
    this.draw();
  }
}

class Audit extends Paged {
  constructor(ctx) {
    super(ctx, "/audit", "audit");
  }

  /** Take a line, which the answer that came meanwhile may have, too. */
  take(line) {
    const isSame = (each) => each.id === line.id && each.action === line.action && Math.abs(each.time - line.time) < 0.001;
    if (!this.items.some(isSame)) {
      this.add(line);
    }
  }

  view() {
    const { html, t } = this.ctx;
    return this.frame(t("Who did what"), t("Nothing was done here yet."), () => html`
      <p class="hint">${t("Who changed something, or tried to.")}</p>
      <div class="wide" tabindex="0" role="region" aria-label=${t("Who did what")}>
        <table class="stacked" role="table">
          ${this.head([t("When"), t("What"), t("Outcome"), t("Who"), t("From")])}
          <tbody role="rowgroup">${entries(this.items).map((entry) => this.row(entry))}</tbody>
        </table>
      </div>`);
  }

  row({ time, what, outcome, kind, user, client, more }) {
    const { html, dateTime, nothing } = this.ctx;
    return html`<tr role="row">
      <td role="cell" class="when">${dateTime(time)}</td>
      <td role="cell" class="what">${what}</td>
      <td role="cell"><span class="state ${kind}">${outcome}</span>${more ? html`<p class="hint">${more}</p>` : nothing}</td>
      <td role="cell">${userTitle(user)}</td>
      <td role="cell">${client}</td>
    </tr>`;
  }
}

/** Why a job failed: what its code means, and the words of the appliance where they are in the reader's language. */
function reason(job) {
  const { text, lang, meaning } = said(job["error-message"], { code: job["error-code"] });
  return html`<p class="reason" lang=${lang && !meaning ? lang : nothing}>${lang && meaning ? meaning : text}</p>`;
}
