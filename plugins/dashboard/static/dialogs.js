// Questions before something is done.

import { untilSignedOut } from "./api.js";
import { t } from "./text.js";
import { html, nothing, render } from "./vendor/lit-html.js";

/** Milliseconds and pixels between two clicks that are one double click, the second of which was meant for what the question covers. */
const DOUBLE_CLICK = { within: 600, around: 8 };
/** The last click of all, which may be what asks. */
let last = new MouseEvent("click");
addEventListener("click", (event) => (last = event), true);

/** Return a listener that lets no click through that belongs to the one before. */
const onlyMeant = (before) => (event) => {
  const isClose = Math.hypot(event.screenX - before.screenX, event.screenY - before.screenY) < DOUBLE_CLICK.around;
  if (event.detail && isClose && event.timeStamp - before.timeStamp < DOUBLE_CLICK.within) {
    event.preventDefault();
    event.stopPropagation();
  }
};

/** How often somebody was asked and did not agree. */
export let declined = 0;

/**
 * Ask before something that cannot be taken back. Leaving the screen or the login is no consent: it closes the question.
 *
 * @param {{title: string, body: any, action: string, danger?: boolean, typed?: string, cancel?: boolean, signal?: AbortSignal}} options
 *   `typed` is a word that has to be typed first; without `cancel` there is nothing to decide; `signal` is that of the screen.
 * @returns {Promise<boolean>} whether it was confirmed; the focus is back where it was.
 */
export function ask({ title, body, action, danger = false, typed, cancel = true, signal }) {
  const dialog = document.createElement("dialog");
  document.body.append(dialog);
  const same = (text) => text.trim().toLowerCase();
  const agreed = () => !typed || same(dialog.querySelector("input").value) === same(typed);
  const confirm = (event) => {
    event.preventDefault();
    if (agreed()) {
      dialog.close("yes");
    } else {
      dialog.querySelector(".problem").textContent = t("Please type “{word}”.", { word: typed });
      dialog.querySelector("input").focus();
    }
  };
  const content = html`<form method="dialog" @submit=${confirm} aria-labelledby="dialog-title">
    <h2 id="dialog-title">${title}</h2>
    ${typeof body === "string" ? html`<p>${body}</p>` : body}
    ${typed
      ? html`<p class="field">
          <label for="dialog-typed">${t("Type “{word}” to confirm", { word: typed })}</label>
          <input id="dialog-typed" autocomplete="off" spellcheck="false" aria-describedby="dialog-problem">
          <span class="problem" id="dialog-problem"></span>
        </p>`
      : nothing}
    <p class="actions">
      ${cancel ? html`<button type="button" @click=${() => dialog.close("")}>${t("Cancel")}</button>` : nothing}
      <button class=${danger ? "danger" : "primary"}>${action}</button>
    </p>
  </form>`;
  render(content, dialog);
  dialog.addEventListener("click", onlyMeant(last), true);
  const closed = new AbortController();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      closed.abort();
      resolve(dialog.returnValue === "yes");
      dialog.remove();
      declined += dialog.returnValue === "yes" ? 0 : 1;
    });
    dialog.showModal();
    whenLeft(() => dialog.close(""), signal, closed.signal);
  });
}

/** Call a function once the screen or the login is left, in whichever way, until a signal says that it does not matter. */
function whenLeft(action, screen, until) {
  addEventListener("popstate", action, { signal: until });
  for (const each of [untilSignedOut(), ...(screen ? [screen] : [])]) {
    each.addEventListener("abort", action, { signal: until });
    if (each.aborted) {
      action();
    }
  }
}
