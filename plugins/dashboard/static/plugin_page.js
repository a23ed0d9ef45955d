// The screen of a plugin, out of its parts: what it shows and what can be done, without a line of its own JavaScript.

import { PREFIX } from "./api.js";
import { Waiting } from "./jobs.js";
import { answerPart, chartPart, downloadPart, textPart } from "./plugin_shown.js";
import { formPart, questionPart } from "./plugin_forms.js";

const KINDS = {
  form: formPart,
  question: questionPart,
  status: answerPart,
  table: answerPart,
  log: answerPart,
  chart: chartPart,
  download: downloadPart,
  text: textPart,
};
/** Milliseconds after which what is shown is asked for again, while somebody looks. */
const AGAIN = 60_000;
/** Milliseconds after which the next part is asked for, though the one before has not come. */
const PATIENCE = 5_000;
/** Milliseconds between two requests because of what a job tells. */
const PAUSE = 1000;

/** Show the screen. */
export async function page(root, ctx) {
  const { html, nothing, render, screen, signal, t } = ctx;
  const news = new Waiting();
  const state = {
    ctx,
    /** The job that is followed beneath its form. */
    job: null,
    types: jobTypes(ctx),
    /** The parts whose answer has not come yet. */
    waiting: new Set(),
    /** What was answered last, by path. */
    answers: new Map(),
    draw: () => {},
    reload: () => news.call(),
    /** How wide a chart may be in its card. */
    room: () => Math.max(240, root.clientWidth - 42),
  };
  const parts = screen.parts.filter((part) => KINDS[part.kind]).map((part, index) => KINDS[part.kind](state, part, `part-${index}`, operation(ctx, part)));
  state.draw = () => signal.aborted || render(html`
    ${screen.summary ? html`<p>${t(screen.summary)}</p>` : nothing}
    ${parts.map((part) => view(ctx, part))}`);
  await load(parts, state);
  resume(state, parts);
  await follow(state, parts, news);
}

/** Return what the document says of the request of a part. */
const operation = ({ document }, part) => (part.path ? document.paths[PREFIX + part.path]?.[part.method.toLowerCase()] : undefined);

/** Return the types of job that the requests of this screen start, as far as that is known: by name if nothing else is. */
function jobTypes(ctx) {
  const started = ctx.screen.parts.map((part) => operation(ctx, part)?.["x-starts"]?.job).filter(Boolean);
  return new Set([...started, ctx.screen.path.split("/")[1]]);
}

/** What a part shows; an answer that it can make nothing of takes down that part alone. */
function view({ message, t }, part) {
  try {
    return part.view();
  } catch {
    return message("bad", t("What the appliance answered cannot be shown here."));
  }
}

/** Ask for what is shown, one after the other, and show each; who is slow is not waited for, and asked no more until it answers. */
async function load(parts, state) {
  for (const part of parts.filter((each) => each.load && !state.waiting.has(each))) {
    state.waiting.add(part);
    const loading = Promise.resolve(part.load()).finally(() => state.waiting.delete(part)).then(state.draw);
    await Promise.race([loading, new Promise((resolve) => setTimeout(resolve, PATIENCE))]);
  }
  state.draw();
}

/** Show the job that is running already, whoever started it. */
function resume(state, parts) {
  const running = [...state.types].map((type) => state.ctx.lastJob(type)).find((job) => job?.status === "running");
  if (running) {
    const form = parts.find((part) => part.starts?.has(running.type)) ?? parts.find((part) => part.follow);
    form?.follow(running.id);
  }
}

/** Ask again when a job of this screen tells something, and now and then, while the tab is looked at. */
async function follow(state, parts, news) {
  const { live, signal } = state.ctx;
  const hear = (job) => {
    if (state.types.has(job.type)) {
      resume(state, parts);
      news.call();
    }
  };
  live.on("job", hear, signal);
  live.on("reach", (reached) => reached && news.call(), signal);
  document.addEventListener("visibilitychange", () => news.call(), { signal });
  for (;;) {
    await news.within(AGAIN, signal);
    if (document.visibilityState === "visible") {
      await load(parts, state);
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
    }
  }
}
