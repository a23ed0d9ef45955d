// The screens before anybody is signed in: setup and login.

import * as api from "./api.js";
import * as key from "./key.js";
import { chosenToken, secretInput } from "./secret.js";
import { plural, t } from "./text.js";
import { html, nothing, render } from "./vendor/lit-html.js";

const LONGEST_TOKEN = 255;

const frame = (site, title, content) => html`
  <header>
    <p class="brand">${site.logo ? html`<img class="logo" src=${site.logo} alt="">` : nothing}<span>${site.name}</span></p>
  </header>
  <main class="welcome">
    <section class="card" aria-labelledby="title">
      <h1 id="title" tabindex="-1">${title}</h1>
      ${content}
    </section>
    ${site.support ? html`<p class="support">${site.support}</p>` : nothing}
  </main>`;

const secret = (name, label, { hint = "", focus = false, autocomplete = "off" } = {}) => html`
  <p class="field">
    <label for=${name}>${label}</label>
    ${secretInput({ id: name, name, required: true, maxlength: LONGEST_TOKEN, focus, autocomplete, described: `${name}-hint ${name}-problem` })}
    <span class="hint" id="${name}-hint">${hint}</span>
    <span class="problem" id="${name}-problem"></span>
  </p>`;

/** Show what is wrong at a field and move there. */
function point(form, name, message) {
  const input = form.elements[name];
  for (const each of form.querySelectorAll(".problem")) {
    each.textContent = each.id === `${name}-problem` ? message : "";
  }
  for (const each of form.querySelectorAll("input")) {
    each.toggleAttribute("aria-invalid", each === input);
  }
  input.focus();
  input.select?.();
}

/** Run what a form does, once at a time, and say at `name` why it failed. */
async function submit(event, name, action) {
  event.preventDefault();
  const form = event.currentTarget;
  const button = form.querySelector(".primary");
  if (button.getAttribute("aria-disabled") === "true") {
    return;
  }
  button.setAttribute("aria-disabled", "true");
  form.setAttribute("aria-busy", "true");
  try {
    await action(form);
  } catch (error) {
    point(form, error.at ?? name, reason(error));
  } finally {
    button.removeAttribute("aria-disabled");
    form.removeAttribute("aria-busy");
  }
}

/** Return why it failed, for people. */
export function reason(error) {
  if (error instanceof api.UnreachableError) {
    return t("The appliance does not answer. Please try again.");
  }
  if (error.status === 429) {
    const seconds = Math.max(1, error.retryAfter);
    return plural(seconds, "Too many attempts. Please try again in {count} second.", "Too many attempts. Please try again in {count} seconds.");
  }
  if (error instanceof api.ApiError || error.at) {
    return error.message;
  }
  reportError(error);
  return t("This page failed. Please load it again.");
}

/** An error at a field. */
const at = (name, message) => Object.assign(new Error(message), { at: name });

/** Show the login; `message` says why somebody is here again. */
export function showLogin(root, site, signedIn, message) {
  const login = (form) => enter(form.elements.token.value.trim(), form.elements.kept.checked, signedIn);
  const content = html`
    ${message ? html`<p class="note" role="alert">${message}</p>` : nothing}
    <form data-login @submit=${(event) => submit(event, "token", login)}>
      ${secret("token", t("API token"), {
        hint: t("It was chosen when the appliance was set up, or given to you by its administrator."),
        focus: true,
        autocomplete: "current-password",
      })}
      <p class="choice">
        <input type="checkbox" id="kept" name="kept">
        <label for="kept">${t("Stay signed in for 30 days on this device")}</label>
      </p>
      <p class="actions"><button class="primary">${t("Sign in")}</button></p>
    </form>`;
  render(frame(site, t("Sign in"), content), root);
  root.querySelector("#token").focus();
}

async function enter(token, kept, signedIn) {
  const signer = await key.fromToken(token);
  let session;
  try {
    session = await api.call("GET", "/session", { signer });
  } catch (error) {
    throw error.status === 403 ? at("token", t("This API token is not valid.")) : error;
  }
  await key.use(signer, kept);
  await signedIn(session);
}

/** Show the first setup, which needs the passphrase where the appliance has made one. */
export function showSetup(root, site, signedIn) {
  const needed = site.setup === "passphrase";
  const setUp = (form) => choose(form, needed, signedIn);
  const content = html`
    <p>${t("Choose the API token with which this appliance is administered from now on.")}</p>
    <form @submit=${(event) => submit(event, needed ? "passphrase" : "newtoken", setUp)}>
      ${needed
        ? secret("passphrase", t("Setup passphrase"), {
            hint: t("The words that the appliance shows on its console."),
            focus: true,
          })
        : nothing}
      ${secret("newtoken", t("New API token"), {
        hint: t("1 to 255 characters without spaces. Keep it in a safe place: it cannot be shown again."),
        focus: !needed,
        autocomplete: "new-password",
      })}
      ${secret("again", t("New API token, once more"), { autocomplete: "new-password" })}
      <p class="actions"><button class="primary">${t("Set up")}</button></p>
    </form>`;
  render(frame(site, t("Set up this appliance"), content), root);
  root.querySelector("input").focus();
}

/** Tokens that were sent by the setup without an answer: the appliance may have taken one of them. */
const unanswered = new Set();

async function choose(form, needed, signedIn) {
  const token = chosenToken(form, at);
  const signer = needed ? await key.fromToken(form.elements.passphrase.value.trim()) : null;
  try {
    await api.call("POST", "/setup", { fields: { newtoken: token }, signer });
  } catch (error) {
    if (error instanceof api.UnreachableError) {
      unanswered.add(token);
    }
    if (await isInForce(token)) {
      return enter(token, false, signedIn);
    }
    throw needed && error.status === 403 ? at("passphrase", t("This passphrase is not the right one.")) : error;
  }
  await enter(token, false, signedIn);
}

/** Return whether the appliance took a token although it could not say so; it takes one only, so others are refused since. */
async function isInForce(token) {
  for (const each of unanswered) {
    const signer = await key.fromToken(each);
    if (await api.call("GET", "/session", { signer }).catch(() => null)) {
      if (each !== token) {
        throw at("newtoken", t("The appliance has taken the token that you chose before. Use that one."));
      }
      return true;
    }
  }
  return false;
}
