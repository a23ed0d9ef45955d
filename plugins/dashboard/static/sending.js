// Sending big files: in pieces that go on after a broken connection, with progress; https://tus.io/protocols/resumable-upload.

import * as api from "./api.js";
import { t } from "./text.js";
import { sendingView } from "./sending_view.js";
import { nothing, render } from "./vendor/lit-html.js";

export const TUS = { "Tus-Resumable": "1.0.0" };
const PAUSE = 2_000;
/** Milliseconds without a byte of progress after which sending gives up. */
const PATIENCE = 5 * 60_000;

/** An upload on the appliance, which stands for its file in a form. */
class Upload {
  constructor(file, path, removal) {
    this.file = file;
    this.path = path;
    this.removal = removal;
    this.field = `upload:${path.split("/").at(-1)}`;
  }

  /** Remove it from the appliance, which may not answer. */
  async discard() {
    forget(this);
    await api.send("DELETE", this.path, { headers: TUS }).catch((error) => error.name === "AbortError" && this.abandon());
  }

  /** Remove it while the page is left, when nothing can be waited for, or once somebody signed out. */
  abandon() {
    fetch(this.removal, { method: "DELETE", headers: TUS, keepalive: true }).catch(() => undefined);
  }
}

/** The upload that was begun last and not used yet; sending the same file again goes on with it. */
let kept = null;

/** Say that an upload was used: the appliance removes it by itself. */
export function forget(upload) {
  if (kept === upload) {
    kept = null;
  }
}

addEventListener("pagehide", () => kept?.abandon());

/**
 * Send a file, and show in a place of the screen how far it is, with a button to end it.
 *
 * @param {Element} place
 * @param {File} file
 * @param {AbortSignal} signal
 * @returns {Promise<Upload>} with `field`, what stands for the file in a form, and `discard()`.
 * @throws {DOMException} AbortError: somebody ended it, and the appliance keeps nothing of it.
 * @throws {api.UnreachableError} it does not answer for long; the same file goes on where it broke.
 */
export async function sendFile(place, file, signal) {
  await api.readable(file);
  if (file.size === 0) {
    throw new Error(t("The file {name} is empty.", { name: file.name }));
  }
  return shown(place, file, signal, async (draw, ended) => {
    const upload = await begun(file, ended);
    try {
      await sendAll(upload, draw, ended);
      return upload;
    } catch (error) {
      if (!(error instanceof api.UnreachableError)) {
        await upload.discard();
      }
      throw error;
    }
  });
}

/**
 * Send a file with the request that uses it, where the appliance takes no uploads beforehand.
 *
 * @returns {Promise<any>} what was answered.
 */
export function sendForm(place, file, signal, path, fields) {
  return shown(place, file, signal, (draw, ended) =>
    api.upload("POST", path, fields, (sent) => draw(Math.min(sent, file.size)), { signal: ended }),
  );
}

/** The signals of what is being sent. */
const going = new Set();

/** Return whether a file is being sent. */
export const isSending = () => going.size > 0;

/** Do something about which a place of the screen shows how far it is. */
async function shown(place, file, signal, action) {
  const ending = new AbortController();
  const ended = AbortSignal.any([signal, ending.signal]);
  const view = sendingView(place, file, () => ending.abort());
  const warn = (event) => event.preventDefault();
  const over = () => (going.delete(ended), removeEventListener("beforeunload", warn));
  addEventListener("beforeunload", warn);
  ended.addEventListener("abort", over);
  going.add(ended);
  view(0);
  try {
    return await action(view, ended);
  } finally {
    over();
    render(nothing, place);
  }
}

/** Return an upload for a file: the one that was begun for it, or else a new one. */
async function begun(file, signal) {
  if (kept !== null) {
    const found = isSame(kept.file, file) && (await present(kept.path, signal).catch(() => null)) !== null;
    if (found) {
      kept.file = file;
      return kept;
    }
    await kept.discard();
  }
  kept = await unless(signal, created(file));
  return kept;
}

/** Return an upload unless the signal ends that; one that the appliance makes all the same is removed once it says so. */
async function unless(signal, making) {
  signal.throwIfAborted();
  const ended = new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));
  try {
    return await Promise.race([making, ended]);
  } catch (error) {
    making.then((upload) => upload.discard(), () => undefined);
    throw error;
  }
}

const isSame = (one, other) =>
  one.name === other.name && one.size === other.size && one.lastModified === other.lastModified;

async function created(file) {
  const name = btoa(String.fromCharCode(...new TextEncoder().encode(file.name.slice(0, 200))));
  const headers = { ...TUS, "Upload-Length": String(file.size), "Upload-Metadata": `filename ${name}` };
  const response = await api.send("POST", "/uploads", { headers });
  const path = response.headers.get("Location").slice(api.PREFIX.length);
  return new Upload(file, path, await api.address("DELETE", path));
}

async function sendAll({ path, file }, draw, signal) {
  let offset = (await present(path, signal)) ?? 0;
  let moved = Date.now();
  const { size } = file;
  while (offset < size) {
    try {
      await api.readable(file);
      await api.upload("PATCH", path, file.slice(offset), (sent) => draw(offset + sent), {
        headers: { ...TUS, "Upload-Offset": String(offset), "Content-Type": "application/offset+octet-stream" },
        signal,
      });
      return;
    } catch (error) {
      const passing = error instanceof api.UnreachableError || [408, 409, 429].includes(error.status) || error.status >= 500;
      if (signal.aborted || !passing || Date.now() - moved > PATIENCE) {
        throw error;
      }
    }
    draw(offset, true);
    await pause(signal);
    const known = await present(path, signal);
    moved = known > offset ? Date.now() : moved;
    offset = known ?? offset;
    draw(offset, known === null);
  }
}

/** Wait before something is tried again; AbortError once the signal says so. */
export function pause(signal) {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const end = () => (clearTimeout(timer), reject(signal.reason));
    const timer = setTimeout(() => (signal.removeEventListener("abort", end), resolve(undefined)), PAUSE);
    signal.addEventListener("abort", end, { once: true });
  });
}

/** Return how many bytes the appliance has; null if it does not answer. */
async function present(path, signal) {
  try {
    const response = await api.send("GET", path, { headers: TUS, signal });
    return Number(response.headers.get("Upload-Offset"));
  } catch (error) {
    if (error instanceof api.UnreachableError || error.status === 429 || error.status >= 500) {
      return null;
    }
    throw error;
  }
}
