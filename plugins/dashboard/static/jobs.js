// Following a job to its end: its record, and each line of its log once.

import * as api from "./api.js";
import * as live from "./live.js";

const POLL = 2_000;
const CHECK = 10_000;
/** Bytes of a long log that are shown, the last ones. */
const SHOWN = 64 * 1024;

/**
 * Follow a job.
 *
 * @param {string} id
 * @param {(job: {record: any, log: string}) => void} update called when something changed.
 * @param {AbortSignal} signal
 * @returns {Promise<any>} the record of the finished job.
 * @throws {api.ApiError} there is no such job.
 */
export async function follow(id, update, signal) {
  const log = new Log(id, signal);
  const wakeUp = new Waiting();
  let record = live.state.jobs.get(id);
  live.on("job", (job) => job.id === id && wakeUp.call(), signal);
  live.on("log", (event) => event.job === id && log.add(event) && wakeUp.call(), signal);
  live.on("reach", () => wakeUp.call(), signal);
  for (;;) {
    try {
      const known = live.state.streaming ? live.state.jobs.get(id) : undefined;
      const ended = known !== undefined && known.status !== "running";
      record = known && !ended && log.isRead ? known : await api.call("GET", `/jobs/${id}`, { signal: live.soon(signal) });
      if (!log.isRead || ended || !live.state.streaming) {
        await log.read(record.log !== null);
      }
      update({ record, log: log.text });
      if (record.status !== "running") {
        return record;
      }
    } catch (error) {
      signal.throwIfAborted();
      if (error instanceof api.ApiError && error.status !== 429 && error.status < 500) {
        throw error;
      }
    }
    await wakeUp.within(live.state.streaming && live.state.reached ? CHECK : POLL, signal);
  }
}

/** The log of one job, of which no byte is shown twice. */
class Log {
  constructor(id, signal) {
    this.id = id;
    this.signal = signal;
    this.text = "";
    this.end = 0;
    this.isRead = false;
    this.decoder = new TextDecoder();
  }

  /** Add what an event tells; what does not follow is read from the file later. */
  add(event) {
    if (!this.isRead || event.end <= this.end) {
      return false;
    }
    if (event.offset !== this.end) {
      this.isRead = false;
      return true;
    }
    this.append(event.text);
    this.end = event.end;
    return true;
  }

  /** Read what was written since; one byte that is known, too, as a range of none is an error. */
  async read(exists) {
    if (exists) {
      const range = this.end ? `bytes=${this.end - 1}-` : `bytes=-${SHOWN}`;
      const response = await api.send("GET", `/jobs/${this.id}/log`, { headers: { Range: range }, signal: live.soon(this.signal) });
      const bytes = new Uint8Array(await response.arrayBuffer());
      const first = Number(/bytes (\d+)-/.exec(response.headers.get("Content-Range") ?? "")?.[1] ?? 0);
      const known = Math.max(0, this.end - first);
      this.append(this.decoder.decode(bytes.subarray(known), { stream: true }));
      this.end = Math.max(this.end, first + bytes.length);
    }
    this.isRead = true;
  }

  append(text) {
    this.text = (this.text + text).slice(-SHOWN);
  }
}

/** A wait that something may end. */
export class Waiting {
  constructor() {
    this.called = false;
    this.end = () => {};
  }

  call() {
    this.called = true;
    this.end();
  }

  async within(milliseconds, signal) {
    if (!this.called) {
      await new Promise((resolve) => {
        const timer = setTimeout(resolve, milliseconds);
        this.end = () => (clearTimeout(timer), resolve(undefined));
        signal.addEventListener("abort", this.end, { once: true });
      });
    }
    this.called = false;
    signal.throwIfAborted();
  }
}
