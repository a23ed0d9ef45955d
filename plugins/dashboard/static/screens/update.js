// Updating the appliance with a package of the vendor.

import * as sending from "../sending.js";

const TYPE = "update";

/** Show the screen. */
export async function page(root, ctx) {
  const [{ version }, last] = await Promise.all([ctx.call("GET", "/version"), newest(ctx)]);
  const screen = new Screen(ctx, version);
  screen.draw();
  if (last) {
    await screen.follow(last.id, history.state?.expected);
  }
}

/** The last update, which somebody else may have started. */
async function newest(ctx) {
  if (!ctx.may("GET", "/jobs")) {
    return null;
  }
  const { jobs } = await ctx.call("GET", "/jobs", { query: { type: TYPE, limit: 1 } });
  return jobs[0] ?? null;
}

class Screen {
  constructor(ctx, version) {
    this.ctx = ctx;
    this.version = version;
    this.running = false;
    /** @type {{field: string, discard: () => Promise<void>, preview: any} | null} */
    this.package = null;
    this.outcome = null;
    ctx.live.on("job", (job) => this.started(job), ctx.signal);
  }

  /** Somebody else started an update. */
  started(job) {
    if (job.type === TYPE && job.status === "running" && !this.running) {
      this.follow(job.id);
    }
  }

  draw() {
    const { html, nothing, render, t } = this.ctx;
    const idle = !this.running && !this.package;
    render(html`
      <p>${t("This appliance has version {version}.", { version: this.version })}</p>
      ${this.outcome ?? nothing}
      ${idle ? this.chooser() : nothing}
      <div id="sending-place"></div>
      ${this.package && !this.running ? this.preview() : nothing}
      <div id="job-place"></div>`);
  }

  chooser() {
    const { html, field, submit, t } = this.ctx;
    return html`<section class="card" aria-labelledby="choose">
      <h2 id="choose">${t("Install an update")}</h2>
      <p>${t("Choose the update package that you received from your vendor. It is checked first, and you see what it changes before anything is installed.")}</p>
      <form @submit=${(event) => submit(event, (form) => this.send(form))}>
        ${field({ name: "package", label: t("Update package"), type: "file", required: true, pointer: "/update" })}
        <div class="outcome"></div>
        <p class="actions"><button class="primary">${t("Check the package")}</button></p>
      </form>
    </section>`;
  }

  /** Send the package and ask what it would do. */
  async send(form) {
    const { call, signal, draw, message, t } = this.ctx;
    const file = form.elements.package.files[0];
    const place = form.closest(".screen").querySelector("#sending-place");
    form.hidden = true;
    let sent = null;
    try {
      sent = await sending.sendFile(place, file, signal);
      draw(message("info", t("The package is being checked …")), place);
      const preview = await call("POST", "/update", { query: { "dry-run": 1 }, fields: { update: sent.field } });
      this.package = { ...sent, preview };
      this.outcome = null;
    } catch (error) {
      await sent?.discard();
      throw error;
    } finally {
      draw("", place);
      form.hidden = false;
    }
    this.draw();
    form.ownerDocument.querySelector("#preview")?.focus();
  }

  preview() {
    const { html, nothing, bytes, submit, t } = this.ctx;
    const preview = this.package.preview;
    return html`<section class="card" aria-labelledby="preview">
      <h2 id="preview" tabindex="-1">${t("Ready to install")}</h2>
      <dl class="facts">
        <dt>${t("Installed now")}</dt><dd>${preview["from-version"] ?? t("unknown")}</dd>
        <dt>${t("After the update")}</dt><dd><strong>${preview["to-version"] ?? t("unknown")}</strong></dd>
        <dt>${t("Size")}</dt><dd>${bytes(preview.size)}</dd>
        ${preview["key-id"] ? html`<dt>${t("Signed with key")}</dt><dd><code>${preview["key-id"].slice(0, 16)}</code></dd>` : nothing}
      </dl>
      ${preview.changelog
        ? html`<h3 id="news">${t("What is new")}</h3>
            <pre class="text" tabindex="0" role="region" aria-labelledby="news">${preview.changelog}</pre>`
        : nothing}
      <p>${t("While it is installed, parts of the appliance may be away for some minutes. Do not switch it off.")}</p>
      <form @submit=${(event) => submit(event, () => this.install())}>
        <div class="outcome"></div>
        <p class="actions">
          <button class="primary">${t("Install the update")}</button>
          <button type="button" @click=${() => this.discard()}>${t("Do not install")}</button>
        </p>
      </form>
    </section>`;
  }

  async discard() {
    const sent = this.package;
    this.package = null;
    this.draw();
    await sent.discard();
  }

  async install() {
    const expected = this.package.preview["to-version"];
    const headers = { "Idempotency-Key": crypto.randomUUID() };
    const { job } = await this.ctx.call("POST", "/update", { fields: { update: this.package.field }, headers });
    history.replaceState({ expected }, "");
    this.package = null;
    this.follow(job, expected);
  }

  /** Follow an update to its end; this page may be replaced meanwhile, as the update may renew the service. */
  async follow(id, expected) {
    const { job, signal, t } = this.ctx;
    const known = this.ctx.live.state.jobs.get(id);
    this.running = known === undefined || known.status === "running";
    this.outcome = null;
    this.draw();
    const place = document.querySelector("#job-place");
    const record = await job(place, id, { title: this.running ? t("Update") : t("The last update") });
    if (signal.aborted) {
      return;
    }
    const wasRunning = this.running;
    this.running = false;
    if (record.status === "success") {
      await this.verify(expected, wasRunning);
    }
    this.draw();
  }

  /** Tell of a success only where the version says so, too. */
  async verify(expected, wasRunning) {
    const { call, message, t } = this.ctx;
    const { version } = await call("GET", "/version");
    this.version = version;
    if (expected && version !== expected) {
      this.outcome = message("bad", t("The update ended without an error, but the appliance still has version {version}, not {expected}. Please ask your vendor.", { version, expected }));
    } else if (wasRunning || expected) {
      this.outcome = message("good", t("The update is installed. The appliance now has version {version}.", { version }));
    }
    history.replaceState(null, "");
  }
}
