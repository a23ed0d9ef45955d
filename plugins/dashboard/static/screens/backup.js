// Backups of the appliance's data, and bringing them back.

import { Course, fromHuman } from "../course.js";
import { day, now } from "../text.js";
import { Restore } from "./restore.js";

const TYPES = ["backup", "restore"];
const REMOVAL = "backup-delete";

/** Show the screen. */
export async function page(root, ctx) {
  const screen = new Screen(ctx);
  await screen.refresh();
  const running = await screen.runningJob();
  if (running) {
    await screen.follow(running);
  }
}

class Screen {
  constructor(ctx) {
    this.ctx = ctx;
    this.backup = null;
    this.made = null;
    this.restored = null;
    this.disk = null;
    /** Id of the job that is shown, and whether it runs. */
    this.shown = "";
    this.running = false;
    /** Which question about the backup is the last: answers may overtake each other. */
    this.turn = 0;
    this.outcome = ctx.nothing;
    this.restore = new Restore(ctx, this);
    ctx.live.on("job", (job) => this.begun(job), ctx.signal);
    ctx.live.on("job", (job) => this.removed(job), ctx.signal);
  }

  /** Somebody, here or elsewhere, removed the backup. */
  removed(job) {
    if (job.type === REMOVAL && job.status !== "running" && !this.running) {
      this.refresh().catch(this.ctx.report);
    }
  }

  /** A backup or a restore began, here or elsewhere. */
  begun(job) {
    if (TYPES.includes(job.type) && job.status === "running" && job.id !== this.shown) {
      this.follow(job).catch(this.ctx.report);
    }
  }

  /** Ask how the last backup is, when it was made, and how the last restore ended. */
  async refresh() {
    const { look, may } = this.ctx;
    const of = (allowed, path, query) => (allowed ? look(path, { query }) : null);
    const jobs = may("GET", "/jobs");
    const turn = (this.turn += 1);
    const [backup, made, restored, health] = await Promise.all([
      look("/backup"),
      of(jobs, "/jobs", { type: "backup", status: "success", limit: 1 }),
      of(jobs, "/jobs", { type: "restore", limit: 1 }),
      of(may("GET", "/health"), "/health"),
    ]);
    if (turn !== this.turn) {
      return;
    }
    this.backup = backup;
    this.made = made?.jobs[0]?.finished ?? null;
    this.restored = restored?.jobs[0] ?? null;
    this.disk = health?.disk ?? null;
    this.draw();
  }

  async runningJob() {
    if (this.ctx.may("GET", "/jobs")) {
      const { jobs } = await this.ctx.call("GET", "/jobs", { query: { status: "running" } });
      return jobs.find((job) => TYPES.includes(job.type)) ?? null;
    }
    return this.backup?.status === "running" ? { id: null, type: "backup", status: "running" } : null;
  }

  draw() {
    const { html, nothing, render, may } = this.ctx;
    render(html`
      <div id="outcome">${this.outcome}</div>
      <div id="now"></div>
      ${this.running ? nothing : this.present()}
      ${may("POST", "/backup/restore") ? html`<div class="screen" ?hidden=${this.running}>${this.restore.view(this.restored)}</div>` : nothing}`);
  }

  present() {
    const { html, nothing, alert, may, t } = this.ctx;
    const there = this.backup?.status === "success";
    const failed = this.backup?.status === "failed" && !this.shown;
    return html`<section class="card" aria-labelledby="backup">
      <h2 id="backup">${t("Backup")}</h2>
      ${there ? nothing : failed ? alert({ message: this.backup["error-message"] ?? t("The last backup failed.") }) : html`<p class="hint">${t("There is no backup on this appliance yet.")}</p>`}
      ${this.facts(there)}
      ${may("POST", "/backup") ? this.actions(there) : there && may("POST", "/downloads") ? this.downloading() : nothing}
    </section>`;
  }

  facts(there) {
    const { html, nothing, bytes, dateTime, fromNow, t } = this.ctx;
    const { backup } = this;
    if (!there) {
      return html`<dl class="facts">${this.room()}</dl>`;
    }
    const size = fromHuman(backup.filesize);
    return html`<dl class="facts">
        ${this.made ? html`<dt>${t("Made")}</dt><dd>${dateTime(this.made)} (${fromNow(this.made)})</dd>` : nothing}
        <dt>${t("Size")}</dt><dd>${Number.isFinite(size) ? bytes(size) : (backup.filesize ?? t("unknown"))}</dd>
        <dt>${t("SHA-256 checksum")}</dt><dd><code>${backup.sha256}</code></dd>
        ${this.room()}
      </dl>
      ${this.list(backup.missing, t("What the backup should contain and was not there"))}
      ${this.list(backup.incomplete, t("What could not be saved"))}`;
  }

  /** How much room there is for a backup, in the units of its size. */
  room() {
    const { html, nothing, bytes, t } = this.ctx;
    const [used, total] = [this.disk?.used, this.disk?.total].map(fromHuman);
    return Number.isFinite(total - used)
      ? html`<dt>${t("Free space")}</dt><dd>${t("{free} of {total}", { free: bytes(Math.max(0, total - used)), total: bytes(total) })}</dd>`
      : nothing;
  }

  list(entries, title) {
    const { html, nothing } = this.ctx;
    return entries?.length ? html`<details><summary>${title}</summary><ul class="plain">${entries.map((each) => html`<li data-plain>${each}</li>`)}</ul></details>` : nothing;
  }

  actions(there) {
    const { html, nothing, may, submit, t } = this.ctx;
    return html`<form @submit=${(event) => submit(event, () => this.start())}>
      ${there ? html`<p class="hint">${t("There is room for one backup: it is deleted as soon as a new one is begun. Download it first if you want to keep it.")}</p>` : nothing}
      <div class="outcome"></div>
      <p class="actions">
        ${there && may("POST", "/downloads") ? html`<button type="button" class="primary" @click=${(event) => this.download(event)}>${t("Download")}</button>` : nothing}
        <button class=${there ? "" : "primary"}>${there ? t("Make a new backup") : t("Make a backup")}</button>
        ${there ? html`<button type="button" @click=${(event) => this.remove(event)}>${t("Delete")}</button>` : nothing}
      </p>
    </form>`;
  }

  downloading() {
    const { html, t } = this.ctx;
    return html`<form><div class="outcome"></div>
      <p class="actions"><button type="button" class="primary" @click=${(event) => this.download(event)}>${t("Download")}</button></p></form>`;
  }

  async start() {
    this.outcome = this.ctx.nothing;
    const { job } = await this.ctx.call("POST", "/backup", { fields: { action: "START" } });
    this.begun({ id: job, type: "backup", status: "running" });
  }

  async download(event) {
    const { download, look, may, showError, t } = this.ctx;
    const { form } = event.currentTarget;
    try {
      const settings = may("GET", "/settings") ? await look("/settings") : null;
      await download("/backup/download", archiveName(settings?.network?.hostname ?? location.hostname, this.made));
    } catch (error) {
      showError(form, error.status === 404 ? new Error(t("The backup is not there any more.")) : error);
    }
  }

  async remove(event) {
    const { ask, showError, t } = this.ctx;
    const { form } = event.currentTarget;
    const sure = await ask({
      title: t("Delete the backup?"),
      body: t("It is removed from the appliance. Copies that you downloaded stay as they are."),
      action: t("Delete"),
      danger: true,
    });
    if (!sure) {
      return;
    }
    try {
      await this.stop();
      await this.refresh();
    } catch (error) {
      showError(form, error);
    }
  }

  stop() {
    return this.ctx.call("POST", "/backup", { fields: { action: "STOP" } });
  }

  /** Follow a backup or a restore to its end; return its record. */
  async follow(known) {
    const { may, t } = this.ctx;
    const isBackup = known.type === "backup";
    this.shown = known.id ?? "backup";
    this.running = true;
    this.draw();
    const course = new Course(this.ctx, document.getElementById("now"), {
      running: isBackup ? t("A backup is being made") : t("A backup is being restored"),
      ended: isBackup ? t("The new backup") : t("The restore"),
    });
    const title = isBackup ? t("Backup") : t("Restore");
    const done = isBackup ? t("The backup is complete.") : t("The backup is restored.");
    const record = may("GET", "/jobs")
      ? await course.follow(known, { title, done })
      : await course.watch("/backup", title, () => this.stop().catch(this.ctx.report));
    if (this.shown === (known.id ?? "backup")) {
      this.running = false;
      await this.refresh();
    }
    return record;
  }
}

/** Return what a downloaded backup is called: of which appliance it is, and of which day. */
const archiveName = (host, made) => `${host.replace(/[^A-Za-z0-9.-]+/g, "-").replace(/^[.-]+/, "")}-${day(made ?? now())}-backup.tar`.slice(-128);
