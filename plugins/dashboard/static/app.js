// The beginning: which of setup, login and dashboard is shown, and the change between them.

import * as api from "./api.js";
import * as key from "./key.js";
import { load, t } from "./text.js";
import { reason, showLogin, showSetup } from "./welcome.js";

/** Milliseconds after which an appliance that does not answer is asked again. */
const AGAIN = 2_000;

const root = document.getElementById("app");
const site = JSON.parse(document.getElementById("state").textContent);

/** Sign in with a key that the appliance has accepted. */
async function signedIn(session) {
  const { start } = await import("./shell.js").catch(() => {
    throw new api.UnreachableError();
  });
  await start(root, site, session, leave);
}

/** Leave the dashboard in this tab, and in the others unless they said so. */
async function leave(message, told = false) {
  api.endAll();
  const live = await import("./live.js");
  live.stop();
  if (!told) {
    await key.forget(message);
  }
  welcome(message);
}

function welcome(message = "") {
  document.title = `${t("Sign in")} – ${site.name}`;
  showLogin(root, site, signedIn, message);
}

async function begin() {
  await load(site.languages);
  api.on("denied", () => leave(t("The token was changed or is no longer valid. Please sign in again.")));
  key.onForgotten((message) => leave(message, true));
  addEventListener("beforeunload", () => key.handOver()); // at pagehide it is too late to store anything
  key.onFound(() => root.querySelector("form[data-login]") && resume());
  if (site.setup !== "done") {
    document.title = `${t("Set up")} – ${site.name}`;
    showSetup(root, site, signedIn);
  } else if (await key.recover()) {
    await resume();
  } else {
    welcome();
  }
}

/** Go on with the key that this browser has. */
async function resume() {
  try {
    await signedIn(await api.call("GET", "/session"));
  } catch (error) {
    if (error instanceof api.UnreachableError || error.status === 429 || error.status >= 500) {
      setTimeout(resume, AGAIN);
    } else if (key.isPresent()) {
      welcome(reason(error));
    }
  }
}

await begin();
