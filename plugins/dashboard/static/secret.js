// The inputs of secrets, which can be looked at while they are typed.

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

/** Return the API token that was typed twice; `at(name, message)` makes the error of a field. */
export function chosenToken(form, at) {
  const { newtoken, again } = form.elements;
  if (!/^[!-~]{1,255}$/.test(newtoken.value)) {
    throw at("newtoken", t("Use letters, digits and signs of the keyboard, and no spaces."));
  }
  if (newtoken.value !== again.value) {
    throw at("again", t("The two tokens differ."));
  }
  return newtoken.value;
}

function toggle({ currentTarget: button }) {
  const input = button.previousElementSibling;
  const isShown = input.type === "text";
  input.type = isShown ? "password" : "text";
  button.setAttribute("aria-pressed", String(!isShown));
  input.focus();
}
