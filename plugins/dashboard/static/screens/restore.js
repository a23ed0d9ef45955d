// Bringing a backup back: choosing it, what it holds, and its way onto the appliance.

import { UnreachableError } from "../api.js";
import { fileField } from "../choosing.js";
import { checking } from "../course.js";
import { forget, pause, sendFile } from "../sending.js";

const TYPE = "restore";
/** Of what is removed, how many paths are shown at once. */
const SHOWN = 5;

/** The part of the screen for backups that restores one. */
export class Restore {
  /**
   * @param {any} ctx of the screen.
   * @param {any} screen with `draw()`, `refresh()`, `follow(job)`, `list(entries, title)`, `outcome` and `shown`.
   */
  constructor(ctx, screen) {
    this.ctx = ctx;
    this.screen = screen;
    this.sending = false;
    this.upload = null;
    this.preview = null;
    this.mode = "merge";
    /** What the screen showed before the restore that runs. */
    this.before = null;
    ctx.signal.addEventListener("abort", () => this.upload?.discard(), { once: true });
  }

  view(last) {
    const { html, nothing } = this.ctx;
    return html`${this.preview ? nothing : this.chooser(last)}
      <div id="sending-place"></div>
      ${this.preview ? this.facts() : nothing}`;
  }

  chooser(last) {
    const { html, nothing, dateTime, stateOf, submit, t } = this.ctx;
    return html`<section class="card" aria-labelledby="restore" ?hidden=${this.sending}>
      <h2 id="restore">${t("Restore a backup")}</h2>
      <p>${t("Choose a backup file that you downloaded before. You see what it contains before anything is changed.")}</p>
      ${last?.finished ? html`<p class="hint">${t("Last restore: {when}", { when: dateTime(last.finished) })} ${stateOf(last.status)}</p>` : nothing}
      <form @submit=${(event) => submit(event, (form) => this.send(form))}>
        ${fileField({ name: "archive", label: t("Backup file") })}
        ${this.modes()}
        <div class="outcome"></div>
        <p class="actions"><button class="primary">${t("Check the backup")}</button></p>
      </form>
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
    const { message, nothing, signal, t } = this.ctx;
    const cancelling = new AbortController();
    const ended = AbortSignal.any([signal, cancelling.signal]);
    this.screen.outcome = nothing;
    this.mode = form.elements.mode.value;
    this.sending = true;
    this.screen.draw();
    try {
      this.upload = await sendFile(document.getElementById("sending-place"), form.elements.archive.files[0], ended);
      this.preview = await this.check(() => cancelling.abort(), ended);
    } catch (error) {
      await this.keepOnly(error);
      if (error.name === "AbortError" && !signal.aborted) {
        this.screen.outcome = message("info", t("Sending was cancelled. The appliance keeps nothing of the file."));
      }
      throw error;
    } finally {
      this.sending = false;
      if (!signal.aborted) {
        this.screen.draw();
      }
    }
    document.getElementById("preview")?.focus();
  }

  async check(cancel, ended) {
    const { call, draw, nothing, t } = this.ctx;
    const place = document.getElementById("sending-place");
    draw(checking(t("Checking the backup"), t("The appliance looks at each file in the backup. Nothing is changed yet."), cancel), place);
    try {
      const fields = { archive: this.upload.field, mode: this.mode };
      return await call("POST", "/backup/restore", { query: { "dry-run": 1 }, fields, signal: ended });
    } finally {
      draw(nothing, place);
    }
  }

  /** Remove what was sent, unless the same file may go on where the connection broke. */
  async keepOnly(error) {
    const { upload } = this;
    this.upload = null;
    if (!(error instanceof UnreachableError)) {
      await upload?.discard();
    }
  }

  facts() {
    const { html, nothing, bytes, dateTime, fromNow, number, submit, t } = this.ctx;
    const { preview, mode } = this;
    const isShown = this.before !== null && this.screen.shown !== this.before;
    return html`<section class="card" aria-labelledby="preview" ?hidden=${isShown}>
      <h2 id="preview" tabindex="-1">${t("Ready to restore")}</h2>
      <dl class="facts">
        <dt>${t("Made")}</dt><dd>${preview.made ? `${dateTime(preview.made)} (${fromNow(preview.made)})` : t("on another appliance, or at an unknown time")}</dd>
        ${preview.version ? html`<dt>${t("Version at that time")}</dt><dd>${preview.version}</dd>` : nothing}
        <dt>${t("Files")}</dt><dd>${number(preview.files)}</dd>
        <dt>${t("Size")}</dt><dd>${bytes(preview.bytes)}</dd>
        <dt>${t("Free space")}</dt><dd>${bytes(preview["free-space"])}</dd>
      </dl>
      ${this.screen.list(preview.warnings, t("What will be done otherwise"))}
      ${mode === "exact" ? this.removes() : nothing}
      <p>${mode === "exact" ? t("Files of the same name will be replaced.") : t("Files of the same name will be replaced. All others stay.")}</p>
      <form @submit=${(event) => submit(event, () => this.bringBack())}>
        <div class="outcome"></div>
        ${this.before === null
          ? html`<p class="actions">
              <button class="danger">${t("Restore")}</button>
              <button type="button" @click=${() => this.discard()}>${t("Do not restore")}</button>
            </p>`
          : nothing}
        <div role="status">
          ${this.before === null ? nothing : html`<p>${t("The backup is being restored …")}</p><p class="progress"><progress aria-label=${t("Restore")}></progress></p>`}
        </div>
      </form>
    </section>`;
  }

  /** What is on the appliance and not in the backup. */
  removes() {
    const { html, message, plural, t } = this.ctx;
    const { files, paths } = this.preview.removes ?? { files: 0, paths: [] };
    if (!paths.length) {
      return message("info", t("Nothing is removed: all that is on the appliance is in the backup, too."));
    }
    return html`<div class="message warn told">
      <p>${plural(files, "{count} file that is not in the backup will be removed:", "{count} files that are not in the backup will be removed:")}</p>
      ${this.paths(paths)}
    </div>`;
  }

  paths(paths) {
    const { html, nothing, t } = this.ctx;
    const list = (some) => html`<ul class="plain">${some.map((path) => html`<li><code>${visible(path)}</code></li>`)}</ul>`;
    return html`${list(paths.slice(0, SHOWN))}
      ${paths.length > SHOWN ? html`<details><summary>${t("Show more")}</summary>${list(paths.slice(SHOWN))}</details>` : nothing}`;
  }

  /** What was removed, where that is something else than the preview said: data may change until it is confirmed. */
  removed(removed = { files: 0, paths: [] }) {
    const { html, nothing, plural } = this.ctx;
    const foreseen = this.preview?.removes ?? { files: 0, paths: [] };
    if (removed.files === foreseen.files && removed.paths.join("\n") === foreseen.paths.join("\n")) {
      return nothing;
    }
    return html`<div class="message warn told">
      <p>${plural(removed.files, "The data changed after the preview: {count} file was removed.", "The data changed after the preview: {count} files were removed.")}</p>
      ${this.paths(removed.paths)}
    </div>`;
  }

  async discard() {
    const { upload } = this;
    this.upload = null;
    this.preview = null;
    this.screen.draw();
    document.getElementById("field-archive").focus();
    await upload?.discard();
  }

  async bringBack() {
    const { ask, t } = this.ctx;
    const exact = this.mode === "exact";
    const sure = await ask({
      title: t("Replace the data of this appliance?"),
      body: exact
        ? t("The data of this appliance become exactly those of the backup. What is not in it is removed. This cannot be taken back.")
        : t("What is in the backup takes the place of the present data. This cannot be taken back."),
      action: t("Restore"),
      danger: true,
      typed: t("restore"),
    });
    if (sure) {
      await this.run();
    }
  }

  /** Restore; the answer comes at the end, and the job that is told of meanwhile is shown by the screen. */
  async run() {
    const { upload } = this;
    const last = this.screen.restored?.id;
    this.before = this.screen.shown;
    this.upload = null;
    forget(upload);
    this.screen.draw();
    try {
      await this.tell(await this.post(upload));
    } catch (error) {
      const isLost = error instanceof UnreachableError;
      if (isLost ? !(await this.isFoundAgain(last)) : this.screen.shown === this.before) {
        this.upload = upload;
        throw error; // no job began: what was sent is still there
      }
      this.preview = null; // and the appliance removes what the job used
    } finally {
      this.before = null;
      if (!this.ctx.signal.aborted) {
        this.screen.draw();
      }
    }
  }

  /** Start it, once for each upload; where no job tells how it goes, only its answer does, which is asked for until it comes. */
  async post(upload) {
    const { call, may, signal } = this.ctx;
    upload.key ??= crypto.randomUUID();
    const request = { fields: { archive: upload.field, mode: this.mode }, headers: { "Idempotency-Key": upload.key } };
    for (;;) {
      try {
        return await call("POST", "/backup/restore", request);
      } catch (error) {
        if (may("GET", "/jobs") || !(error instanceof UnreachableError)) {
          throw error;
        }
      }
      await pause(signal);
    }
  }

  /** Say how it ended; where the screen followed the job, that says so already. */
  async tell({ warnings, removed }) {
    const { html, message, nothing, t } = this.ctx;
    const told = this.screen.shown === this.before ? message("good", t("The backup is restored.")) : nothing;
    this.screen.outcome = html`${told}${this.mode === "exact" ? this.removed(removed) : nothing}${this.screen.list(warnings, t("What was done otherwise"))}`;
    this.preview = null;
    await this.screen.refresh();
  }

  /** The answer was lost, which does not end a restore: show the job that was begun; return whether there is one. */
  async isFoundAgain(last) {
    const { call, signal } = this.ctx;
    for (;;) {
      try {
        const { jobs } = await call("GET", "/jobs", { query: { type: TYPE, limit: 1 } });
        const isNew = jobs[0] && jobs[0].id !== last;
        if (isNew && jobs[0].id !== this.screen.shown) {
          await this.screen.follow(jobs[0]);
        }
        return Boolean(isNew);
      } catch (error) {
        if (!(error instanceof UnreachableError)) {
          throw error;
        }
      }
      await pause(signal);
    }
  }
}

/** Return a path with what is not to be seen in it, or changes how the rest reads, as an escape. */
const visible = (path) =>
  path.replace(/[\p{C}\u2028\u2029]/gu, (each) => `\\u{${/** @type {number} */ (each.codePointAt(0)).toString(16)}}`);
