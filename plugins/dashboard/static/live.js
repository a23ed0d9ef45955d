// What happens on the appliance, while it happens: one stream of events for all tabs of a browser, or else polling.

import * as api from "./api.js";

const SILENCE = 40_000;
const POLL = { visible: 2_000, hidden: 30_000 };
const HEALTH_EACH = 10_000;
const TRY_STREAM_AGAIN = 60_000;
const SHORTEST_PAUSE = 500;
const LONGEST_PAUSE = 10_000;
/** Streams in a row that end without an event, after which polling takes their place for a while. */
const EMPTY_STREAMS = 3;
const LONGEST_EVENT = 4 * 1024 * 1024;
/** Milliseconds after which an appliance that says nothing to a small question is not reached: it may be cut off without a word. */
const PATIENCE = 15_000;
const LOCK = "jidoteki-live";

/** @type {{jobs: Map<string, any>, health: any, services: any[] | null, reached: boolean, since: number, streaming: boolean}} */
export const state = { jobs: new Map(), health: null, services: null, reached: true, since: 0, streaming: false };

/** Milliseconds between two signs of a tab that somebody looks at it. */
const SEEN_EACH = 10_000;

const listeners = new Map();
const seen = new EventTarget();
/** When another tab was looked at last. */
let lookedAt = 0;
const channel = new BroadcastChannel(LOCK);
let running = null;

/**
 * Call a function for each event of a kind: `job`, `log`, `health`, `services`, `settings`, `audit` and those of plugins
 * as the API has them; `reach` when the appliance is lost or found again; `state` when anything of it was replaced.
 */
export function on(kind, listener, signal) {
  const all = listeners.get(kind) ?? new Set();
  listeners.set(kind, all.add(listener));
  signal?.addEventListener("abort", () => all.delete(listener));
}

function dispatch(kind, data) {
  if (kind === "job") {
    state.jobs.set(data.id, { ...state.jobs.get(data.id), restarting: undefined, ...data });
  } else if (kind === "state") {
    state.jobs = new Map((data.jobs ?? []).map((job) => [job.id, job]));
    state.health = data.health ?? state.health;
    state.services = data.services ?? state.services;
  } else if (kind === "health" || kind === "services") {
    state[kind] = data;
  } else if (kind === "reach") {
    if (state.reached === data) {
      return;
    }
    state.reached = data;
    state.since = Date.now();
  } else if (kind === "streaming") {
    state.streaming = data;
  }
  listeners.get(kind)?.forEach((listener) => {
    try {
      listener(data);
    } catch (error) {
      reportError(error); // one that fails keeps nothing from the others
    }
  });
}

/** Dispatch in all tabs. */
function publish(kind, data) {
  dispatch(kind, data);
  channel.postMessage({ kind, data });
}

const snapshot = () => ({
  state: { jobs: [...state.jobs.values()], health: state.health, services: state.services },
  reached: state.reached,
  streaming: state.streaming,
});

channel.onmessage = ({ data }) => {
  if (running === null) {
    return;
  }
  if (data.visible) {
    lookedAt = Date.now();
    seen.dispatchEvent(new Event("visible"));
  } else if (data.ask && running.leads) {
    channel.postMessage({ snapshot: snapshot() });
  } else if (data.snapshot) {
    dispatch("state", data.snapshot.state);
    dispatch("streaming", data.snapshot.streaming);
    dispatch("reach", data.snapshot.reached);
  } else if (data.kind) {
    if (data.kind !== "reach" && data.kind !== "streaming") {
      dispatch("reach", true); // another tab has just heard of it
    }
    dispatch(data.kind, data.data);
  }
};

/**
 * Begin, for somebody who signed in; the tab that has the lock reads for all of them.
 *
 * @param {(method: string, path: string) => boolean} may what the credential may ask for.
 */
export function start(may) {
  stop();
  const ending = new AbortController();
  running = { ending, may, leads: false };
  const mine = running;
  channel.postMessage({ ask: true });
  const tell = () => document.visibilityState === "visible" && channel.postMessage({ visible: true });
  every(SEEN_EACH, tell, ending.signal);
  document.addEventListener("visibilitychange", tell, { signal: ending.signal });
  tell();
  api.on("reach", (reached) => running === mine && dispatch("reach", reached));
  navigator.locks
    .request(LOCK, { signal: ending.signal }, async () => {
      mine.leads = true;
      await lead(ending.signal, may);
    })
    .catch((error) => {
      if (!ending.signal.aborted) {
        throw error;
      }
    });
}

/** Call a function again and again after so many milliseconds, until a signal says that it is over. */
export function every(pause, action, signal) {
  const clock = setInterval(action, pause);
  signal.addEventListener("abort", () => clearInterval(clock));
}

/** End, for somebody who signs out. */
export function stop() {
  running?.ending.abort();
  running = null;
  Object.assign(state, { jobs: new Map(), health: null, services: null, reached: true, streaming: false });
}

async function lead(signal, may) {
  let last = "";
  let pause = SHORTEST_PAUSE;
  let empty = 0;
  while (!signal.aborted) {
    let heard = false;
    if (!may("GET", "/events")) {
      await poll(signal, Infinity, may);
      return;
    }
    try {
      await stream(signal, last, (id) => {
        last = id;
        heard = true;
        pause = SHORTEST_PAUSE;
      });
    } catch (error) {
      if (signal.aborted) {
        return;
      }
      if (error instanceof api.UnreachableError || !(error instanceof NoStreamError || error instanceof api.ApiError)) {
        publish("reach", false);
        heard = true;
      } else {
        [empty, heard] = [EMPTY_STREAMS, false];
      }
    }
    publish("streaming", false);
    empty = heard ? 0 : empty + 1;
    if (empty >= EMPTY_STREAMS) {
      empty = 0;
      await poll(signal, Date.now() + TRY_STREAM_AGAIN, may);
    } else {
      await sleep(pause, signal);
      pause = Math.min(pause * 2, LONGEST_PAUSE);
    }
  }
}

/** There is a stream, and nothing comes of it: something on the way keeps it. */
class NoStreamError extends Error {}

/** Read one stream to its end; fetch and not EventSource, which gives up at the first 503 and shows no status. */
async function stream(signal, last, took) {
  const silent = new AbortController();
  const hush = () => silent.abort(new NoStreamError());
  let timer = setTimeout(hush, SILENCE);
  try {
    const response = await api.send("GET", "/events", {
      headers: last ? { "Last-Event-ID": last } : {},
      signal: AbortSignal.any([signal, silent.signal]),
    });
    publish("reach", true);
    publish("streaming", true);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (let part = await reader.read(); !part.done; part = await reader.read()) {
      clearTimeout(timer);
      timer = setTimeout(hush, SILENCE);
      if (!state.reached) {
        publish("reach", true);
      }
      const blocks = (rest + part.value).split("\n\n");
      rest = blocks.pop();
      if (rest.length > LONGEST_EVENT) {
        throw new NoStreamError();
      }
      blocks.forEach((block) => take(block, took));
    }
  } finally {
    clearTimeout(timer);
  }
}

/** Take one event; https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream. */
function take(block, took) {
  const fields = { event: "message", data: "", id: null };
  for (const line of block.split("\n")) {
    const [name, value] = [line.split(":", 1)[0], line.slice(line.indexOf(":") + 1).replace(/^ /, "")];
    if (name === "data") {
      fields.data += fields.data ? `\n${value}` : value;
    } else if (name === "id" || name === "event") {
      fields[name] = value;
    }
  }
  if (fields.id !== null) {
    took(fields.id);
  }
  if (fields.data && fields.event !== "reset" && fields.event !== "bye") {
    try {
      publish(fields.event, JSON.parse(fields.data));
    } catch (error) {
      reportError(error);
    }
  }
}

/** Ask again and again in place of a stream, each request after the last one's answer. */
async function poll(signal, until, may) {
  let otherAt = 0;
  while (!signal.aborted && Date.now() < until) {
    try {
      if (may("GET", "/jobs")) {
        await askJobs(soon(signal));
      }
      if (isLookedAt() && Date.now() - otherAt >= HEALTH_EACH) {
        otherAt = Date.now();
        await askState(soon(signal), may);
      }
    } catch (error) {
      if (signal.aborted) {
        return;
      }
      if (!(error instanceof api.ApiError)) {
        publish("reach", false);
      }
    }
    await sleep(isLookedAt() ? POLL.visible : POLL.hidden, signal, true);
  }
}

/** A signal for a request whose answer does not take long. */
export const soon = (signal) => AbortSignal.any([signal, AbortSignal.timeout(PATIENCE)]);

/** Whether somebody looks at this tab, which reads for all, or at another one. */
const isLookedAt = () => document.visibilityState === "visible" || Date.now() - lookedAt < 1.5 * SEEN_EACH;

async function askJobs(signal) {
  const { jobs } = await api.call("GET", "/jobs", { query: { limit: 20 }, signal });
  publish("reach", true);
  jobs.push(...(await others(jobs, signal)));
  jobs.filter(isNews).forEach((job) => publish("job", job));
}

async function askState(signal, may) {
  if (may("GET", "/health")) {
    publish("health", await api.call("GET", "/health", { signal }));
  }
  if (may("GET", "/services")) {
    publish("services", (await api.call("GET", "/services", { signal })).services ?? []);
  }
  publish("reach", true);
}

/** Ask for the jobs that were running and are not among the newest any more. */
async function others(listed, signal) {
  const known = new Set(listed.map((job) => job.id));
  const asked = [];
  for (const { id, status } of state.jobs.values()) {
    if (status === "running" && !known.has(id)) {
      asked.push(await api.call("GET", `/jobs/${id}`, { signal }));
    }
  }
  return asked;
}

function isNews(job) {
  const known = state.jobs.get(job.id);
  return known === undefined || known.status !== job.status || known.percentage !== job.percentage || known.restarting !== job.restarting;
}

/** Wait; `wakes` when a tab is looked at. */
function sleep(milliseconds, signal, wakes = false) {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      document.removeEventListener("visibilitychange", shown);
      seen.removeEventListener("visible", other);
      resolve();
    };
    const shown = () => wakes && document.visibilityState === "visible" && end();
    const other = () => wakes && milliseconds > POLL.visible && end();
    const timer = setTimeout(end, milliseconds);
    signal.addEventListener("abort", end);
    seen.addEventListener("visible", other);
    document.addEventListener("visibilitychange", shown);
  });
}
