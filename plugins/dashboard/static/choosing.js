// Choosing a file: by the browser's own button, with the keyboard too, or by dropping it there.

import { field } from "./widgets.js";
import { t } from "./text.js";
import { html } from "./vendor/lit-html.js";

/**
 * A labelled field for one file, into which it may be dropped, too.
 *
 * @param {{name: string, label: string, hint?: string}} options
 */
export function fileField({ name, label, hint = t("You can also drop the file here.") }) {
  return html`<div class="drop" @dragenter=${over} @dragover=${over} @dragleave=${away} @drop=${dropped}>
    ${field({ name, label, hint, type: "file", required: true })}
  </div>`;
}

const hasFiles = (event) => [...event.dataTransfer.types].includes("Files");

function over(event) {
  if (hasFiles(event)) {
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
    event.currentTarget.toggleAttribute("data-over", true);
  }
}

function away(event) {
  if (!event.currentTarget.contains(event.relatedTarget)) {
    event.currentTarget.removeAttribute("data-over");
  }
}

function dropped(event) {
  event.currentTarget.removeAttribute("data-over");
  if (!event.dataTransfer.files.length) {
    return;
  }
  event.preventDefault();
  const one = new DataTransfer();
  one.items.add(event.dataTransfer.files[0]); // of several the first one, as the field takes one
  const input = event.currentTarget.querySelector("input");
  input.files = one.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
  input.focus();
}
