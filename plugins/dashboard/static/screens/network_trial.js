// Network settings on trial: they come back unless somebody who reaches the appliance with them says that they shall stay.

const LOOK_EACH = 2000;
/** What an address may consist of, as it becomes part of a link. */
const ADDRESS = /^[0-9a-fA-F:.]{2,45}$/;

/**
 * Return where the dashboard is with new settings; null where it stays, `{address: ""}` where nobody knows.
 *
 * @param {Record<string, string>} network the new settings.
 * @param {Record<string, string>} [present]
 * @returns {{address: string} | null}
 */
export function whereTo(network, present = {}) {
  if (network.mode !== "static") {
    return present.mode === "static" ? { address: "" } : null;
  }
  const host = network.ip_address.includes(":") ? `[${network.ip_address}]` : network.ip_address;
  if (network.ip_address === present.ip_address || location.hostname === host || !ADDRESS.test(network.ip_address)) {
    return null;
  }
  const port = location.port ? `:${location.port}` : "";
  return { address: `${location.protocol}//${host}${port}/dashboard/network` };
}

/** The settings on trial, from the request to the confirmation or to their end. */
export class Trial {
  constructor(ctx, draw) {
    Object.assign(this, { ctx, draw, isOffered: false, pending: null, until: 0, id: "", outcome: null, trouble: null });
    const clock = setInterval(() => this.pending && draw(), 1000);
    ctx.signal.addEventListener("abort", () => clearInterval(clock), { once: true });
  }

  /** Take what GET /settings says of them. */
  take(pending) {
    this.pending = pending ?? null;
    this.until = performance.now() + (pending?.["seconds-left"] ?? 0) * 1000;
  }

  /** A job began; ask until it says that it waits. */
  begin(id) {
    Object.assign(this, { id, outcome: null, trouble: null });
    if (this.isOffered) {
      this.wait(id).catch((error) => error.name === "AbortError" || reportError(error));
    }
  }

  async wait(id) {
    const { look, live, signal } = this.ctx;
    while (this.id === id && this.pending === null && this.outcome === null) {
      await new Promise((resolve) => setTimeout(resolve, LOOK_EACH));
      signal.throwIfAborted();
      const job = live.state.jobs.get(id);
      if (document.visibilityState === "visible" && (job === undefined || job.status === "running")) {
        const shown = await look("/settings").catch((error) => this.passing(error));
        if (shown?.pending && this.id === id) {
          this.take(shown.pending);
          this.draw();
        }
      }
    }
  }

  passing(error) {
    if (error.name === "AbortError") {
      throw error;
    }
  }

  end(record) {
    Object.assign(this, { pending: null, outcome: record });
  }

  async keep() {
    this.trouble = null;
    try {
      await this.ctx.call("POST", "/settings/confirm");
      this.pending = null;
    } catch (error) {
      this.trouble = error;
    }
    this.draw();
  }

  view(moved) {
    const { html, nothing, message, t } = this.ctx;
    if (this.pending) {
      return this.question(whereTo(this.pending.settings?.network ?? {}, {}) ?? moved);
    }
    if (this.outcome?.["error-code"] === "E2001") {
      return message("warn", t("Nobody confirmed the change: the former settings are in force again."));
    }
    const goes = moved && (this.outcome === null || this.outcome.status === "success");
    return goes ? html`<section class="card"><h2>${t("Where the dashboard is now")}</h2>${this.place(moved)}</section>` : nothing;
  }

  question(moved) {
    const { html, nothing, alert, may, t, duration } = this.ctx;
    const left = Math.max(0, Math.round((this.until - performance.now()) / 1000));
    return html`<section class="card">
      <h2>${t("Keep the new settings?")}</h2>
      <p>${t("They are in force on trial. Unless somebody confirms them, the former ones come back.")}</p>
      <p class="countdown" role="timer" aria-label=${t("Time left")}>${duration(left)}</p>
      ${moved ? this.place(moved) : nothing}
      ${this.trouble ? alert(this.trouble) : nothing}
      ${may("POST", "/settings/confirm")
        ? html`<p class="actions"><button type="button" class="primary" @click=${() => this.keep()}>${t("Keep this change")}</button></p>`
        : nothing}
    </section>`;
  }

  place({ address }) {
    const { html, t } = this.ctx;
    if (!address) {
      return html`<p>${t("The new address comes from your network: the appliance shows it on its console. If this page stops answering, open the dashboard there.")}</p>`;
    }
    return html`
      <p>${t("If this page stops answering, open the new address. Your browser may warn about the certificate there, and you have to sign in again:")}</p>
      <p><a href=${address} rel="noreferrer">${address}</a></p>`;
  }
}
