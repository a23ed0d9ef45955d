// Backups of the appliance's data, and bringing them back.

import * as sending from "../sending.js";

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
    this.job = null;
    /** @type {{field: string, discard: () => Promise<void>, preview: any, mode: string} | null} */
    this.archive = null;
    this.outcome = null;
    ctx.live.on("job", (job) => this.started(job), ctx.signal);
  }

  started(job) {
    if (["backup", "restore"].includes(job.type) && job.status === "running" && this.job === null) {
      this.follow(job);
    }
  }

  /** Ask how the last backup is, and when it was made. */
  async refresh() {
    this.backup = await this.ctx.look("/backup");
    this.made = null;
    if (this.backup?.status === "success" && this.ctx.may("GET", "/jobs")) {
      const { jobs } = await this.ctx.call("GET", "/jobs", { query: { type: "backup", status: "success", limit: 1 } });
      this.made = jobs[0]?.finished ?? null;
    }
    this.draw();
  }

  async runningJob() {
    if (!this.ctx.may("GET", "/jobs")) {
      return null;
    }
    const { jobs } = await this.ctx.call("GET", "/jobs", { query: { status: "running" } });
    return jobs.find((job) => ["backup", "restore"].includes(job.type)) ?? null;
  }

  draw() {
    const { html, nothing, render, may } = this.ctx;
    render(html`
      ${this.outcome ?? nothing}
      <div id="job-place"></div>
      ${this.job ? nothing : html`${this.present()}${may("POST", "/backup/restore") ? this.restore() : nothing}`}`);
  }

  present() {
    const { html, nothing, alert, may, submit, t } = this.ctx;
    const failed = this.backup?.status === "failed";
    const there = this.backup?.status === "success";
    return html`<section class="card" aria-labelledby="backup">
      <h2 id="backup">${t("Backup")}</h2>
      ${there ? this.facts() : failed ? alert({ message: this.backup["error-message"] ?? t("The last backup failed.") }) : html`<p class="hint">${t("There is no backup on this appliance yet.")}</p>`}
      ${may("POST", "/backup")
        ? html`<form @submit=${(event) => submit(event, () => this.start())}>
            <div class="outcome"></div>
            <p class="actions">
              ${there && may("POST", "/downloads") ? html`<button type="button" class="primary" @click=${(event) => this.download(event)}>${t("Download")}</button>` : nothing}
              <button class=${there ? "" : "primary"}>${there ? t("Make a new backup") : t("Make a backup")}</button>
              ${there ? html`<button type="button" @click=${(event) => this.remove(event)}>${t("Delete")}</button>` : nothing}
            </p>
          </form>`
        : nothing}
    </section>`;
  }

  facts() {
    const { html, nothing, dateTime, fromNow, t } = this.ctx;
    const backup = this.backup;
    return html`<dl class="facts">
        ${this.made ? html`<dt>${t("Made")}</dt><dd>${dateTime(this.made)} (${fromNow(this.made)})</dd>` : nothing}
        <dt>${t("Size")}</dt><dd>${backup.filesize ?? t("unknown")}</dd>
        <dt>${t("SHA-256 checksum")}</dt><dd><code>${backup.sha256}</code></dd>
      </dl>
      ${this.list(backup.missing, t("What the backup should contain and was not there"))}
      ${this.list(backup.incomplete, t("What could not be saved"))}`;
  }

  list(entries, title) {
    const { html, nothing } = this.ctx;
    return entries?.length ? html`<details><summary>${title}</summary><ul>${entries.map((each) => html`<li>${each}</li>`)}</ul></details>` : nothing;
  }

  async start() {
    const { job } = await this.ctx.call("POST", "/backup", { fields: { action: "START" } });
    this.follow({ id: job, type: "backup" });
  }

  async download(event) {
    const form = event.currentTarget.form;
    try {
      await this.ctx.download("/backup/download");
    } catch (error) {
      this.ctx.showError(form, error);
    }
  }

  async remove(event) {
    const { ask, call, showError, t } = this.ctx;
    const form = event.currentTarget.form;
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
      await call("POST", "/backup", { fields: { action: "STOP" } });
      await this.refresh();
    } catch (error) {
      showError(form, error);
    }
  }

  /** Follow a backup or a restore to its end. */
  async follow({ id, type }) {
    const { job, signal, t } = this.ctx;
    const titles = { backup: t("Making the backup"), restore: t("Restoring the backup") };
    const done = { backup: t("The backup is complete.") };
    this.job = id;
    this.outcome = null;
    this.draw();
    const place = document.querySelector("#job-place");
    await job(place, id, { title: titles[type], done: done[type] });
    if (!signal.aborted) {
      this.job = null;
      await this.refresh();
    }
  }

  restore() {
    const { html, field, submit, t } = this.ctx;
    return html`<section class="card" aria-labelledby="restore">
      <h2 id="restore">${t("Restore a backup")}</h2>
      <p>${t("Choose a backup file that you downloaded before. You see what it contains before anything is changed.")}</p>
      <form @submit=${(event) => submit(event, (form) => this.send(form))} ?hidden=${this.archive !== null}>
        ${field({ name: "archive", label: t("Backup file"), type: "file", required: true })}
        ${this.modes()}
        <div class="outcome"></div>
        <p class="actions"><button class="primary">${t("Check the backup")}</button></p>
      </form>
      <div id="sending-place"></div>
      ${this.archive ? this.preview() : ""}
    </section>`;
  }

  modes() {
    const { html, t } = this.ctx;
    return html`<fieldset>
      <legend>${t("Files that are on the appliance and not in the backup")}</legend>
      <p class="choice"><input type="radio" id="merge" name="mode" value="merge" checked><label for="merge">${t("Keep them")}</label></p>
      <p class="choice"><input type="radio" id="exact" name="mode" value="exact"><label for="exact">${t("Remove them, so that the data are exactly those of the backup")}</label></p>
    </fieldset>`;
  }

  /** Send the archive and ask what it holds. */
  async send(form) {
    const { call, signal, draw, message, t } = this.ctx;
    const file = form.elements.archive.files[0];
    const mode = form.elements.mode.value;
    const place = form.closest("section").querySelector("#sending-place");
    form.hidden = true;
    let sent = null;
    try {
      sent = await sending.sendFile(place, file, signal);
      draw(message("info", t("The backup is being checked …")), place);
      const fields = { archive: sent.field, mode };
      const preview = await call("POST", "/backup/restore", { query: { "dry-run": 1 }, fields });
      this.archive = { ...sent, preview, mode };
    } catch (error) {
      await sent?.discard();
      throw error;
    } finally {
      draw("", place);
      form.hidden = this.archive !== null;
    }
    this.draw();
    /** @type {HTMLElement} */ (document.querySelector("#preview"))?.focus();
  }

  preview() {
    const { html, nothing, bytes, dateTime, number, submit, t } = this.ctx;
    const { preview, mode } = this.archive;
    return html`<h3 id="preview" tabindex="-1">${t("This backup")}</h3>
      <dl class="facts">
        <dt>${t("Made")}</dt><dd>${preview.made ? dateTime(preview.made) : t("on another appliance, or at an unknown time")}</dd>
        ${preview.version ? html`<dt>${t("Version at that time")}</dt><dd>${preview.version}</dd>` : nothing}
        <dt>${t("Files")}</dt><dd>${number(preview.files)}</dd>
        <dt>${t("Size")}</dt><dd>${bytes(preview.bytes)}</dd>
        <dt>${t("Free space")}</dt><dd>${bytes(preview["free-space"])}</dd>
      </dl>
      ${this.list(preview.warnings, t("What will be done otherwise"))}
      <p>${mode === "exact" ? t("Data that are not in the backup will be removed.") : t("Files of the same name will be replaced. All others stay.")}</p>
      <form @submit=${(event) => submit(event, () => this.bringBack())}>
        <div class="outcome"></div>
        <p class="actions">
          <button class="danger">${t("Restore")}</button>
          <button type="button" @click=${() => this.discard()}>${t("Do not restore")}</button>
        </p>
      </form>`;
  }

  async discard() {
    const sent = this.archive;
    this.archive = null;
    this.draw();
    await sent?.discard();
  }

  async bringBack() {
    const { ask, call, message, t } = this.ctx;
    const sure = await ask({
      title: t("Replace the data of this appliance?"),
      body: t("What is in the backup takes the place of the present data. This cannot be taken back."),
      action: t("Restore"),
      danger: true,
      typed: t("restore"),
    });
    if (!sure) {
      return;
    }
    const { field, mode } = this.archive;
    const headers = { "Idempotency-Key": crypto.randomUUID() };
    const answer = await call("POST", "/backup/restore", { fields: { archive: field, mode }, headers });
    this.archive = null;
    this.outcome = this.ctx.html`${message("good", t("The backup is restored."))}${this.list(answer.warnings, t("What was done otherwise"))}`;
    this.job = null;
    await this.refresh();
  }
}
