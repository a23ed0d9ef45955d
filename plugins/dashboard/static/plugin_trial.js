// The question whether a change shall stay that a plugin has put into force on trial.

import { starts, tries } from "./screens/description.js";
import { Trial } from "./screens/trial.js";
import { now } from "./text.js";
import { shown } from "./values.js";

/** Seconds after which a change of which nobody hears how long it waits is offered to be confirmed all the same. */
const PATIENCE = 5;

/** Return a question for each request of a screen whose change may be tried. */
export function trialsOf(ctx, draw) {
  const paths = ctx.screen.parts.filter(({ kind, method }) => kind === "form" && method === "POST").map(({ path }) => path);
  return [...new Set(paths)].filter((path) => tries(ctx.document, path)).map((path) => new PluginTrial(ctx, draw, path));
}

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
    const mayWait = job?.status === "running" && now() - job.started > PATIENCE;
    return path === `${this.path}/confirm` && (this.trial.pending !== null || !mayWait);
  }
}
