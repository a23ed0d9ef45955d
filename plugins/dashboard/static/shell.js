// The frame of all screens after login: head, menu, the state of the connection, and the way between screens.

import * as api from "./api.js";
import * as key from "./key.js";
import * as live from "./live.js";
import { Navigation } from "./navigation.js";
import { pluginScreens } from "./plugin_screens.js";
import { Restarting } from "./restarting.js";
import { SCREENS } from "./screens.js";
import { Served, starts, tries } from "./screens/description.js";
import * as text from "./text.js";
import * as widgets from "./widgets.js";
import { html, nothing, render, svg } from "./vendor/lit-html.js";

const { t } = text;
const BASE = "/dashboard";
/** From which figures on the head warns; the original's. */
const FULL = { disk: 98, memory: 90 };

/** What belongs to one login. */
let frame = null;
let leaving = new AbortController();

/**
 * Show the dashboard.
 *
 * @param {Element} root
 * @param {any} site what the page was given by the appliance: build, name, logo, support, base.
 * @param {any} session what GET /session answered.
 * @param {(message?: string) => Promise<void>} leave signs out.
 */
export async function start(root, site, session, leave) {
  const served = new Served(await description());
  const may = (method, path) => served.has(method, path) && api.allows(session, method, path);
  const ending = new AbortController();
  frame = { root, site, session, leave: () => (ending.abort(), leave("")), may, document: served.document, menu: [], open: false, isOutdated: false, ways: new Navigation(root, BASE, show, ending.signal), restarting: new Restarting(`${site.name} (${location.hostname})`, draw, may, ending.signal), ending };
  frame.menu = [...SCREENS.filter((screen) => may(...screen.needs)), ...pluginScreens(served.document, may)];
  live.start(may);
  for (const kind of ["health", "state", "reach", "job"]) {
    live.on(kind, draw, ending.signal);
  }
  live.on("reach", found, ending.signal);
  let streams = 0; // of a service that restarts within a moment, nothing else tells
  live.on("streaming", (streaming) => streaming && (streams += 1) > 1 && found(true), ending.signal);
  api.on("denied", () => ending.abort());
  live.every(1000, () => (frame.restarting.since || !live.state.reached) && draw(), ending.signal);
  draw();
  frame.restarting.recall();
  await show();
}

/** What this appliance serves. */
async function description() {
  const response = await fetch("/docs/openapi.json").catch(() => null);
  if (!response?.ok) {
    throw new api.UnreachableError();
  }
  return response.json();
}

/** Go to a screen, as its links do. */
export const go = (path) => frame.ways.go(path);

/** Open or close the menu of narrow windows. */
function toggle(open) {
  frame.open = open;
  draw();
}

/** The screen of the address; the first one for an address that there is none at. */
function current() {
  const name = location.pathname.slice(BASE.length + 1).split("/")[0];
  return frame.menu.find((screen) => screen.name === name) ?? frame.menu[0];
}

async function show() {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  const screen = current();
  const title = screen ? t(screen.title) : t("Nothing to see");
  document.title = `${title} – ${frame.site.name}`;
  frame.ways.arrived();
  frame.open = false;
  draw();
  const main = frame.root.querySelector("main");
  const place = document.createElement("div");
  place.className = "screen";
  keepFocus(place);
  main.replaceChildren(place);
  render(view(title, html`<p class="hint" role="status">${t("Loading …")}</p>`), place);
  place.querySelector("h1").focus();
  scrollTo(0, 0);
  if (screen === undefined) {
    render(view(title, html`<p>${t("The token that you signed in with opens none of the pages here.")}</p>`), place);
    return;
  }
  try {
    const module = await imported(screen.module ?? `./screens/${screen.name}.js`);
    if (!signal.aborted) {
      await module.page(place, context(screen, title, place, signal));
    }
  } catch (error) {
    if (!signal.aborted && error.name !== "AbortError") {
      broken(place, title, error, signal);
    }
  }
}

/** Give the focus to a heading where what has it goes, such as a button. */
function keepFocus(place) {
  let [focused, card] = [place, place];
  place.addEventListener("focusin", ({ target }) => ([focused, card] = [target, target.closest(".card, .screen")]));
  new MutationObserver(() => {
    if (!focused.isConnected && document.activeElement === document.body) {
      const heading = (card.isConnected ? card : place).querySelector(":not([hidden]) > h2") ?? place.querySelector("h1");
      heading.tabIndex = -1;
      heading.focus({ preventScroll: true });
    }
  }).observe(place, { childList: true, subtree: true });
}

/** Load the module of a screen; a browser may remember that it failed while the appliance did not answer. */
const imported = (address) =>
  import(address).catch(async () => {
    await fetch(new URL(address, import.meta.url)).catch(() => {
      throw new api.UnreachableError();
    });
    return import(`${address}?${Date.now()}`);
  });

/** One template for all states of a screen, so that its heading stays, and with it the focus. */
const view = (title, content) => html`<h1 tabindex="-1">${title}</h1>${content}`;

/** What a screen gets; see docs/dashboard.md, which promises it to plugins. */
function context(screen, title, place, signal) {
  const options = (given = {}) => ({ ...given, signal: given.signal ? AbortSignal.any([signal, given.signal]) : signal });
  return {
    ...widgets,
    ...text,
    text,
    html,
    svg,
    nothing,
    live,
    signal,
    screen,
    title,
    session: frame.session,
    site: frame.site,
    may: frame.may,
    document: frame.document,
    go,
    download: api.download,
    ask: (given) => widgets.ask({ signal, ...given }),
    call: (method, path, given) => api.call(method, path, options(given)),
    look: (path, given) => api.look(path, options(given)),
    send: (method, path, given) => api.send(method, path, options(given)),
    upload: (method, path, fields, progress, given) => api.upload(method, path, fields, progress, options(given)),
    job: (target, id, given) => widgets.watchJob(target, id, { may: frame.may("POST", `/jobs/${id}/cancel`), ...options(given) }),
    render: (content) => render(view(title, content), place),
    draw: render,
    report: (error) => signal.aborted || error.name === "AbortError" || reportError(error),
    restart: () => frame.restarting.start(),
    handOver: key.handOver,
  };
}

/** A screen that fails takes down itself only. */
function broken(place, title, error, signal) {
  const again = () => show();
  if (error instanceof api.UnreachableError) {
    live.on("reach", (reached) => reached && again(), signal);
  }
  const known = error instanceof api.ApiError || error instanceof api.UnreachableError;
  if (!known) {
    reportError(error);
  }
  const told = known ? error : new Error(t("This page failed. The others go on working."));
  const fresh = document.createElement("div");
  fresh.className = "screen";
  place.replaceWith(fresh);
  const retry = html`<p class="actions"><button type="button" @click=${again}>${t("Try again")}</button></p>`;
  render(view(title, html`${widgets.alert(told)}${retry}`), fresh);
}

/** The appliance answers again: whether it is still the same service decides about this page. */
async function found(reached) {
  if (!reached) {
    return;
  }
  const response = await fetch("/dashboard/state.json", { cache: "no-store" }).catch(() => null);
  if (response?.ok && (await response.json()).build !== frame.site.build) {
    frame.isOutdated = true;
    await (frame.ways.holds ? draw() : loadAgain());
  }
}

async function loadAgain() {
  frame.restarting.handOver();
  frame.ways.arrived();
  await key.handOver();
  location.reload();
}

function draw() {
  const chosen = current();
  render(
    html`<a class="skip" href="#content">${t("Skip to the content")}</a>
      <header>
        <a class="brand" href="/dashboard">
          ${frame.site.logo ? html`<img class="logo" src=${frame.site.logo} alt="">` : nothing}
          <span>${frame.site.name}</span>
        </a>
        ${figures()}
        <button type="button" class="leave" @click=${frame.leave}>${t("Sign out")}</button>
      </header>
      ${connection()}
      <div class="body">
        <nav aria-label=${t("Screens")} class=${frame.open ? "open" : ""}>
          <button type="button" class="toggle" aria-expanded=${frame.open} @click=${() => toggle(!frame.open)}>${t("Menu")}</button>
          ${menu(chosen)}
          ${frame.may("POST", "/reboot") ? html`<button type="button" class="restart" @click=${() => frame.restarting.start()}>${t("Restart …")}</button>` : nothing}
        </nav>
        <main id="content" tabindex="-1"></main>
      </div>
      <footer><a href="/docs">${t("API manual")}</a>${frame.site.support ? html` · <span>${frame.site.support}</span>` : nothing}</footer>`,
    frame.root,
  );
}

function menu(chosen) {
  const groups = [...new Set(frame.menu.map((screen) => screen.group))];
  return html`<ul>
    ${groups.map((group) => html`
      ${group ? html`<li class="group">${t(group)}</li>` : nothing}
      ${frame.menu
        .filter((screen) => screen.group === group)
        .map((screen) => html`<li>
          <a href="${BASE}/${screen.name}" aria-current=${screen === chosen ? "page" : nothing}>${t(screen.title)}</a>
        </li>`)}`)}
  </ul>`;
}

function figures() {
  const { cpu, disk, memory } = live.state.health ?? {};
  const shown = [
    cpu?.load !== undefined && { name: t("Load"), value: load(cpu.load), bad: cpu.cpu5min >= cpu.num },
    share(t("Disk"), disk?.percentage, FULL.disk),
    share(t("Memory"), memory?.percentage, FULL.memory),
  ].filter(Boolean);
  return html`<dl class="figures" aria-label=${t("State of the appliance")}>
    ${shown.map((each) => html`<div class=${each.bad ? "bad" : ""}>
      <dt>${each.name}</dt><dd>${each.value}${each.bad ? html`<span class="unseen"> ${t("(high)")}</span>` : nothing}</dd>
    </div>`)}
  </dl>`;
}

/** The load of the last minute, as people write numbers. */
function load(said) {
  const first = Number.parseFloat(String(said).split(",")[0]);
  return Number.isFinite(first) ? text.number(first, 2) : "–";
}

/** What is in use of something; nothing where the appliance does not say it in figures. */
const share = (name, percentage, full) =>
  Number.isFinite(percentage) && { name, value: text.percent(percentage / 100), bad: percentage >= full };

/** What is to be said of the connection; empty while all is well. */
function connection() {
  const told = frame.restarting.since || live.state.reached ? frame.restarting.view() : lost();
  return html`<div class="connection" role="status">${told !== nothing ? told : frame.isOutdated ? outdated() : changing()}</div>`;
}

/** What built-in screens may put on trial. */
const TRIED = { network: ["/settings"], certificates: ["/certs"] };

/** The types of jobs whose changes wait on a screen. */
function waiting({ name, path, parts = [] }) {
  const paths = TRIED[name] ?? [path, ...parts.map((part) => part.path)];
  return paths.filter((each) => each && tries(frame.document, each)).map((each) => starts(frame.document, each));
}

/** What leads to changes that go on elsewhere, as they come back where nobody keeps them. */
function changing() {
  const running = new Set([...live.state.jobs.values()].filter(({ status }) => status === "running").map(({ type }) => type));
  const screens = running.size ? frame.menu.filter((screen) => screen !== current() && waiting(screen).some((type) => running.has(type))) : [];
  return screens.length
    ? screens.map((screen) => html`<p>${t("A change is being made that may have to be confirmed: {title}.", { title: t(screen.title) })} <a href="${BASE}/${screen.name}">${t("Look at it")}</a></p>`)
    : nothing;
}

const outdated = () => html`<p>
  ${t("This page is of a version that the appliance has no more. What you entered is lost when it is loaded again.")}
  <button type="button" @click=${loadAgain}>${t("Load it again")}</button>
</p>`;

const lost = () => html`<p>${t("The appliance does not answer. Trying again …")} ${since(live.state.since)}</p>`;
const since = (start) => html`<span aria-hidden="true">${text.duration((Date.now() - start) / 1000)}</span>`;
