// What the appliance is and how it is.

import { changelogView } from "../changelog.js";
import { inOrder, jobTitle, LABELS, MODES } from "../names.js";
import { said } from "../sentences.js";

/** Show the screen. */
export async function page(root, { dateTime, html, nothing, look, render, may, live, signal, t }) {
  const optional = (path) => (may("GET", path) ? look(path) : null);
  const [version, settings, changelog, answered] = await Promise.all(["/version", "/settings", "/changelog", "/services"].map(optional));

  const draw = () => {
    const services = live.state.services ?? answered?.services ?? [];
    render(html`
      ${live.state.health?.reverted?.map(failure)}
      <div class="cards">
        <section class="card">
          <h2>${t("This appliance")}</h2>
          <dl class="facts"><dt>${t("Version")}</dt><dd>${version?.version ?? t("unknown")}</dd>
            <dt>${t("Address of this page")}</dt><dd>${location.hostname}</dd></dl>
        </section>
        <section class="card">
          <h2>${t("Network")}</h2>
          ${settings?.pending ? html`<p class="message warn">${t("Other settings are in force on trial.")} <a href="/dashboard/network">${t("Look at them")}</a></p>` : nothing}
          ${settings?.network ? facts(inUse(settings.network)) : settings?.pending ? nothing : html`<p class="hint">${t("No network settings were made here yet.")}</p>`}
        </section>
        ${services.length ? html`<section class="card"><h2>${t("Services")}</h2>${list(services)}</section>` : nothing}
      </div>
      ${changelog
        ? html`<section class="card">
            <h2>${t("What is new in this version")}</h2>
            <div class="changelog" tabindex="0" role="region" aria-label=${t("What is new in this version")}>${changelogView(changelog)}</div>
          </section>`
        : nothing}`);
  };

  /** A change that was put back, or could not be. */
  const failure = ({ job, time, "error-code": code, "error-message": message }) => html`<div class="message ${code === "E2001" ? "warn" : "bad"}">
    <p><strong>${jobTitle(job.replace(/^\d+-/, ""))}, ${dateTime(time)}</strong></p>
    <p>${said(message, { code }).meaning || said(message).text}</p>
    ${may("GET", "/jobs") ? html`<p><a href="/dashboard/activity">${t("Look at it")}</a></p>` : nothing}
  </div>`;

  const facts = (network) => html`<dl class="facts">
    ${Object.entries(network).sort(([a], [b]) => inOrder(a, b)).map(([name, value]) => html`<dt>${Object.hasOwn(LABELS, name) ? t(LABELS[name]) : name}</dt><dd>${name === "mode" && Object.hasOwn(MODES, value) ? t(MODES[value]) : shown(value)}</dd>`)}
  </dl>`;

  const list = (services) => html`<ul class="services">
    ${services.flatMap(Object.entries).map(([name, state]) => html`<li>
      <span>${name}</span>
      <span class="state ${state === "running" ? "good" : "bad"}">${state === "running" ? t("running") : state === "stopped" ? t("stopped") : state}</span>
    </li>`)}
  </ul>`;

  live.on("services", draw, signal);
  live.on("state", draw, signal);
  live.on("health", draw, signal);
  draw();
}

/** What of the network settings counts: with DHCP addresses come from the network. */
const inUse = (network) =>
  network.mode === "static" ? network : Object.fromEntries(Object.entries(network).filter(([name]) => !FIXED.includes(name)));

const FIXED = ["ip_address", "netmask", "gateway", "dns1", "dns2"];

const shown = (value) => (typeof value === "string" ? value : JSON.stringify(value));
