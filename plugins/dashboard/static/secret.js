// The input of a secret, which can be looked at while it is typed.

import { t } from "./text.js";
import { html, nothing } from "./vendor/lit-html.js";

/**
 * @param {{id: string, name: string, required?: boolean, maxlength?: number, focus?: boolean, autocomplete?: string,
 *   described: string, pointer?: string, value?: string}} options
 */
export const secretInput = ({ id, name, required = false, maxlength, focus = false, autocomplete = "off", described, pointer, value = "" }) => html`
  <span class="secret">
    <input id=${id} name=${name} type="password" data-secret ?required=${required} maxlength=${maxlength ?? nothing} spellcheck="false"
      autocapitalize="none" autocomplete=${autocomplete} ?autofocus=${focus} aria-describedby=${described}
      data-pointer=${pointer ?? nothing} .value=${value}>
    <button type="button" aria-pressed="false" aria-label=${t("Show what is typed")} @click=${toggle}>${t("Show")}</button>
  </span>`;

function toggle({ currentTarget: button }) {
  const input = button.previousElementSibling;
  const isShown = input.type === "text";
  input.type = isShown ? "password" : "text";
  button.setAttribute("aria-pressed", String(!isShown));
  input.focus();
}
