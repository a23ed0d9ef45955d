// What the parts of the screen for updates look like.

import { changelogView } from "../changelog.js";
import { fileField } from "../choosing.js";
import { Course } from "../course.js";

/** Bytes of the log of all updates that are shown, the last ones. */
const SHOWN = 256 * 1024;

export function chooser({ html, submit, t }, hidden, send) {
  return html`<section class="card" aria-labelledby="choose" ?hidden=${hidden}>
    <h2 id="choose">${t("Install an update")}</h2>
    <p>${t("Choose the update package that you received from your vendor. It is checked first, and you see what it changes before anything is installed.")}</p>
    <form @submit=${(event) => submit(event, send)}>
      ${fileField({ name: "package", label: t("Update package") })}
      <div class="outcome"></div>
      <p class="actions"><button class="primary">${t("Check the package")}</button></p>
    </form>
  </section>`;
}

/** What a package would do; `told` is null where the appliance cannot tell it beforehand. */
export function preview(ctx, file, told, install, discard) {
  const { html, bytes, submit, t } = ctx;
  return html`<section class="card" aria-labelledby="preview">
    <h2 id="preview" tabindex="-1">${t("Ready to install")}</h2>
    ${told
      ? facts(ctx, told)
      : html`<dl class="facts"><dt>${t("File")}</dt><dd>${file.name}</dd><dt>${t("Size")}</dt><dd>${bytes(file.size)}</dd></dl>
          <p>${t("This package is sent now and checked by the appliance before it is installed. What is new in it cannot be shown beforehand.")}</p>`}
    <p>${t("While it is installed, parts of the appliance may be away for some minutes. Do not switch it off.")}</p>
    <form @submit=${(event) => submit(event, install)}>
      <div class="outcome"></div>
      <p class="actions">
        <button class="primary">${t("Install the update")}</button>
        <button type="button" @click=${discard}>${t("Do not install")}</button>
      </p>
    </form>
  </section>`;
}

function facts({ html, nothing, bytes, t }, told) {
  const from = told["from-version"] ?? t("unknown");
  const to = told["to-version"] ?? t("unknown");
  return html`
    <p class="versions"><span class="unseen">${t("From version {from} to version {to}", { from, to })}</span>
      <span aria-hidden="true">${from}</span> <span aria-hidden="true">→</span> <strong aria-hidden="true">${to}</strong></p>
    <dl class="facts">
      <dt>${t("Size")}</dt><dd>${bytes(told.size)}</dd>
      ${told["key-id"] ? html`<dt>${t("Signature")}</dt><dd>${t("valid, made with the key")} <code>${told["key-id"].slice(0, 16)}</code></dd>` : nothing}
    </dl>
    ${told.package?.reboot
      ? html`<p>${t("The appliance restarts to try this update. If it does not work, the former version comes back by itself.")}</p>`
      : nothing}
    ${told.package?.notes ? html`<p class="notes">${told.package.notes}</p>` : nothing}
    ${told.preflight
      ? html`<h3 id="found">${t("What the package found on this appliance")}</h3>
          <pre class="text" tabindex="0" role="region" aria-labelledby="found">${told.preflight}</pre>`
      : nothing}
    ${told.changelog
      ? html`<h3 id="news">${t("What is new")}</h3>
          <div class="changelog" tabindex="0" role="region" aria-labelledby="news">${changelogView(told.changelog)}</div>`
      : nothing}`;
}

/** The frame of a job of this screen. */
export const course = (ctx, place) =>
  new Course(ctx, place, {
    running: ctx.t("An update is being installed"),
    ended: ctx.t("The last update"),
    away: ctx.t("The appliance does not answer just now, which is normal during an update. This page goes on by itself."),
  });

/** How an update ended that the appliance calls a success, judged by the version. */
export function outcome({ message, t }, before, version, expected) {
  if (version === null) {
    return message("good", t("The update is installed."));
  }
  if (expected !== null && version !== expected) {
    return message("bad", t("The update ended without an error, but the appliance still has version {version}, not {expected}. Please ask your vendor.", { version, expected }));
  }
  if (expected === null && version === before) {
    return message("warn", t("The update ended without an error. The appliance has version {version}, as before.", { version }));
  }
  return message("good", t("The update is installed. The appliance now has version {version}.", { version }));
}

const BACK = "The former version is back";
const UNCLEAR = "E2004";

/** What is in force after an update that did not end with success. */
export function failure({ message, t }, record, version) {
  if (record["error-code"] === UNCLEAR) {
    return message("bad", version === null
      ? t("The update failed, and the way back did too. Please ask your vendor.")
      : t("The update failed, and the way back did too. The appliance says that it has version {version}. Please ask your vendor.", { version }));
  }
  if (record["error-message"]?.endsWith(BACK)) {
    return message("warn", version === null
      ? t("The update was taken back. The former version is in force.")
      : t("The update was taken back. Version {version} is in force.", { version }));
  }
  return version === null ? null : message("warn", t("The update was not completed. Version {version} is in force.", { version }));
}

/** The log of all updates, which is asked for when it is opened. */
export function fullLog(ctx) {
  const { html, t } = ctx;
  return html`<details class="card" @toggle=${(event) => event.currentTarget.open && showLog(ctx, event.currentTarget)}>
    <summary>${t("Show full log")}</summary>
    <div class="full-log"></div>
  </details>`;
}

async function showLog(ctx, details) {
  const { alert, download, draw, html, logView, may, send, t } = ctx;
  const place = details.querySelector(".full-log");
  draw(html`<p class="hint" role="status">${t("Loading …")}</p>`, place);
  try {
    const response = await send("GET", "/update/log", { headers: { Range: `bytes=-${SHOWN}`, Prefer: "nothing=204" } });
    const text = await response.text();
    const save = may("POST", "/downloads")
      ? html`<p class="actions"><button type="button" @click=${() => download("/update/log").catch((error) => draw(alert(error), place))}>${t("Download")}</button></p>`
      : "";
    draw(text ? html`${logView(text, t("All updates"))}${save}` : html`<p class="hint">${t("No update was installed yet.")}</p>`, place);
    place.querySelector("pre")?.scrollTo(0, Number.MAX_SAFE_INTEGER);
  } catch (error) {
    if (error.name !== "AbortError") {
      draw(alert(error), place);
    }
  }
}
