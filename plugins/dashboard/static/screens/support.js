// What helps the vendor's support, and the logs to read here.

import { LogViewer } from "../logs.js";
import { phrase } from "../text.js";

const FILES = [
  {
    path: "/logs",
    title: phrase("Logs"),
    about: phrase("The logs of the appliance and of what runs on it, in one archive (logs.tar.gz) that anybody can read who gets it."),
    action: phrase("Download the logs"),
  },
  {
    path: "/debug",
    title: phrase("Report for the support"),
    about: phrase("The state of the appliance, its settings and its logs (debug-bundle.tar). It is encrypted: only the support can read it."),
    action: phrase("Download the report"),
  },
];

/** Milliseconds for which it is said that a download begins. */
const SAID_FOR = 30_000;

/** Show the screen. */
export async function page(root, ctx) {
  const { html, nothing, render, signal, site, t, may } = ctx;
  const files = FILES.filter((file) => may("GET", file.path));
  const state = new Map(files.map((file) => [file.path, {}]));
  const log = new LogViewer(ctx, root, () => draw());
  const draw = () => signal.aborted || render(html`
    <div class="cards">${files.map((file) => fileCard(ctx, file, state.get(file.path), draw))}</div>
    ${log.view()}
    <section class="card">
      <h2>${t("Help")}</h2>
      ${site.support ? html`<p class="support">${site.support}</p>` : nothing}
      <p><a href="/docs">${t("Manual of the API, for programmers")}</a></p>
    </section>`);
  draw();
  await log.list();
}

function fileCard({ html, nothing, t, alert, download, message }, file, state, draw) {
  const begin = async () => {
    if (state.busy) {
      return;
    }
    Object.assign(state, { busy: true, trouble: null, begun: false });
    draw();
    try {
      await download(file.path);
      state.begun = true;
      setTimeout(() => ((state.begun = false), draw()), SAID_FOR);
    } catch (error) {
      state.trouble = error;
    }
    state.busy = false;
    draw();
  };
  return html`<section class="card">
    <h2>${t(file.title)}</h2>
    <p>${t(file.about)}</p>
    ${state.trouble ? alert(state.trouble) : nothing}
    ${state.begun ? message("info", t("It is being packed. The download begins by itself, which may take a minute.")) : nothing}
    <p class="actions"><button type="button" aria-disabled=${state.busy ? "true" : "false"} @click=${begin}>${t(file.action)}</button></p>
  </section>`;
}
