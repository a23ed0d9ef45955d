// The screen of a plugin, out of its parts: what it shows and what can be done, without a line of its own JavaScript.

import { PREFIX } from "./api.js";
import { Waiting } from "./jobs.js";
import { answerPart, chartPart, downloadPart, textPart } from "./plugin_shown.js";
import { formPart, questionPart } from "./plugin_forms.js";
import { starts, tries } from "./screens/description.js";
import { Trial } from "./screens/trial.js";
import { now, sleep } from "./text.js";
import { shown } from "./values.js";

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
    trials: trialsOf(ctx, () => state.draw()),
    /** How wide a chart may be in its card. */
    room: () => Math.max(240, root.clientWidth - 42),
  };
  const told = screen.parts.filter((part) => KINDS[part.kind]);
  const parts = told.map((part, index) => KINDS[part.kind](state, part, `part-${index}`, operation(ctx, part)));
  const isIdle = (index) => state.trials.some((trial) => trial.replaces(told[index].path));
  state.draw = () => signal.aborted || render(html`
    ${screen.summary ? html`<p>${t(screen.summary)}</p>` : nothing}
    ${state.trials.map((trial) => trial.view())}
    ${parts.map((part, index) => (isIdle(index) ? nothing : view(ctx, part)))}`);
  await load(parts, state);
  resume(state, parts);
  await follow(state, parts, news);
}

/** Return what the document says of the request of a part. */
const operation = ({ document }, part) => (part.path ? document.paths[PREFIX + part.path]?.[part.method.toLowerCase()] : undefined);

/** Return the types of job that the requests of this screen start. */
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
    await Promise.race([loading, sleep(PATIENCE)]);
  }
  state.draw();
}

/** Show the job that is running already, whoever started it. */
function resume(state, parts) {
  const last = [...state.types].map((type) => state.ctx.lastJob(type)).filter(Boolean);
  state.trials.forEach((trial) => last.forEach((job) => trial.hear(job)));
  state.draw();
  const running = last.find((job) => job.status === "running");
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
      await sleep(PAUSE);
    }
  }
}

/** Seconds until a change that tells no time may be confirmed all the same. */
const WAITS = 5;

/** Return a question for each request of a screen whose change may be tried. */
function trialsOf(ctx, draw) {
  const paths = ctx.screen.parts.filter(({ kind, method }) => kind === "form" && method === "POST").map(({ path }) => path);
  return [...new Set(paths)].filter((path) => tries(ctx.document, path)).map((path) => new PluginTrial(ctx, draw, path));
}

/** The question whether a change on trial shall stay. */
class PluginTrial {
  constructor(ctx, draw, path) {
    const { t } = ctx;
    this.ctx = ctx;
    this.path = path;
    this.type = starts(ctx.document, path);
    this.trial = new Trial(ctx, draw, path, {
      title: t("Keep this change?"),
      told: t("It is in force on trial. Unless somebody confirms it, what was before comes back."),
      restored: "",
      keep: t("Keep this change"),
    });
  }

  /** A job began, goes on or ended. */
  hear(job) {
    if (job.type === this.type && job.status === "running" && job.id !== this.trial.id) {
      this.trial.begin(job.id);
    } else if (job.id === this.trial.id && job.status !== "running") {
      this.trial.end(job);
    }
  }

  /** Remember that this page asked for the change. */
  mine(path, id) {
    if (path === this.path) {
      this.trial.mine(id);
    }
  }

  view() {
    const { nothing, t } = this.ctx;
    const { "seconds-left": left, ...values } = this.trial.pending ?? {};
    return left === undefined ? nothing : this.trial.view(Object.keys(values).length ? shown(values, { title: t("Keep this change?") }) : nothing);
  }

  /** Whether a part of the screen is this question over again, or asks of nothing. */
  replaces(path) {
    const job = this.ctx.lastJob(this.type);
    const mayWait = job?.status === "running" && now() - job.started > WAITS;
    return path === `${this.path}/confirm` && (this.trial.pending !== null || !mayWait);
  }
}
