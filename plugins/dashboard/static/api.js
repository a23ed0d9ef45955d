// Requests to the API, signed with the key of this browser.

import * as key from "./key.js";
import { hear, sleep, t } from "./text.js";

export const PREFIX = "/api/v1/admin";
/** What the service says to those whose token it does not know; other answers of 403 are about rights. */
const UNKNOWN_TOKEN = "Authentication error";

/** What only the administrator may use. */
const CLOSED = ["/setup", "/tokens"];

/** How often, and after how many milliseconds, a change is sent again whose answer did not come. */
const TRIES = 4;
const PAUSE = 2_000;
/** Milliseconds within which clicks on a download are one. */
const ONE_CLICK = 1_000;

/** What the appliance answered in place of success. */
export class ApiError extends Error {
  constructor(status, message, code = undefined, field = undefined, retryAfter = 0) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.code = code;
    this.field = field;
    this.retryAfter = retryAfter;
    /** Whether the message is the appliance's, which knows no languages. */
    this.isTold = true;
  }
}

/** The appliance did not answer at all. */
export class UnreachableError extends Error {
  constructor() {
    super("The appliance does not answer");
    this.name = "UnreachableError";
  }
}

let traffic = new AbortController();
const listeners = { denied: new Set(), reach: new Set() };

/** Call a function once the key is refused, or each time the appliance is lost (false) or found again (true). */
export function on(event, listener) {
  listeners[event].add(listener);
  return () => listeners[event].delete(listener);
}

/** Return the signal that is aborted once the login of this moment ends. */
export const untilSignedOut = () => traffic.signal;

/** End all requests; for somebody who signs out. */
export function endAll() {
  traffic.abort();
  traffic = new AbortController();
}

function tell(event, value) {
  listeners[event].forEach((listener) => listener(value));
}

/**
 * Return the signed address of a request.
 *
 * @param {CryptoKey | null} [signer] the key in place of this browser's; null for none.
 */
export async function address(method, path, query = {}, signer = undefined) {
  const whole = PREFIX + path;
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== undefined && value !== null && value !== "") {
      parameters.set(name, String(value));
    }
  }
  if (signer !== null) {
    parameters.set("hash", await key.hash(method, whole, signer));
  }
  const text = parameters.toString();
  return text ? `${whole}?${text}` : whole;
}

/** Return the body of a form, without what is undefined; objects go as JSON. */
export function form(fields) {
  const body = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    if (value !== undefined && value !== null) {
      const plain = typeof value === "object" && !(value instanceof Blob);
      body.append(name, plain ? JSON.stringify(value) : value);
    }
  }
  return body;
}

const given = (options) => {
  const signals = [traffic.signal, ...(options.signal ? [options.signal] : [])];
  return AbortSignal.any(signals);
};

/**
 * Make a request and return its Response.
 *
 * @param {string} method
 * @param {string} path without the prefix.
 * @param {{query?: object, fields?: object, headers?: object, signal?: AbortSignal, signer?: CryptoKey | null}} [options]
 * @throws {ApiError | UnreachableError | DOMException} AbortError when it was ended.
 */
export async function send(method, path, options = {}) {
  const signal = given(options);
  const url = await address(method, path, options.query, options.signer);
  const sent = Date.now();
  let response;
  try {
    response = await fetch(url, {
      method,
      body: options.fields ? form(options.fields) : undefined,
      headers: options.headers,
      signal,
      cache: "no-store",
    });
  } catch (error) {
    if (signal.aborted) {
      throw error;
    }
    const unsent = await whyUnsent(options.fields);
    if (unsent instanceof UnreachableError) {
      tell("reach", false);
    }
    throw unsent;
  }
  tell("reach", true);
  hear(response.headers.get("Date"), sent);
  if (!response.ok) {
    throw await refusal(response.status, response.headers, () => response.text(), options.signer);
  }
  return response;
}

/** Return why a request did not get through: the browser reads files only now, and fails as if the appliance were away. */
async function whyUnsent(fields = {}) {
  try {
    for (const each of fields instanceof Blob ? [fields] : Object.values(fields)) {
      await (each instanceof Blob && readable(each));
    }
    return new UnreachableError();
  } catch (error) {
    return error;
  }
}

/** Fail where the browser cannot read a file any more. Its size may be 0 then, and nothing of it is as good as all of it. */
export async function readable(file) {
  try {
    const reader = file.stream().getReader();
    await reader.read();
    await reader.cancel();
  } catch {
    throw new Error(t("The file cannot be read. It may have been changed or removed since it was chosen, or be a folder. Please choose it again."));
  }
}

async function refusal(status, headers, text, signer) {
  const body = parsed(await text().catch(() => "")) ?? {};
  const message = body["Error-Message"] || headers.get("Error-Message");
  if (!message) {
    return elsewhere(status);
  }
  if (status === 403 && message.startsWith(UNKNOWN_TOKEN) && signer === undefined) {
    endAll();
    tell("denied", message);
  }
  const retryAfter = Number(headers.get("Retry-After")) || 0;
  return new ApiError(status, message, body["error-code"], body["error-field"], retryAfter);
}

/** What is no answer of the appliance comes from something between here and there. */
function elsewhere(status) {
  const message = t("The answer did not come from the appliance, but from something on the way to it ({status}). Please try again.", { status });
  return Object.assign(new ApiError(status, message), { isTold: false });
}

/** Return the JSON in a text; null where there is none. */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/**
 * Make a request and return what was answered, as JSON where it is JSON and as text otherwise.
 *
 * The result of a request that starts a job is `{job: ID}`.
 */
export async function call(method, path, options = {}) {
  const changes = method === "POST" && options.fields && !options.query?.["dry-run"] && options.signer === undefined;
  const response = await (changes ? sendOnce(method, path, options) : send(method, path, options));
  return answered(response.status, response.headers, await body(response, options.signal));
}

/**
 * Send a change that is made once, though its answer may be lost: sent again with the same key, it is answered as before.
 *
 * @throws {UnreachableError} the appliance does not answer; the change may have been made.
 */
async function sendOnce(method, path, options) {
  const headers = { "Idempotency-Key": crypto.randomUUID(), ...options.headers };
  for (let left = TRIES; ; ) {
    try {
      return await send(method, path, { ...options, headers });
    } catch (error) {
      left = isBeingMade(error) ? TRIES : left - 1;
      if (left < 1 || !(error instanceof UnreachableError || isBeingMade(error))) {
        throw error;
      }
    }
    await sleep(PAUSE);
    options.signal?.throwIfAborted();
  }
}

/** The appliance still carries out what was asked before with this key, however long that takes. */
const isBeingMade = (error) => error.status === 409 && error.retryAfter > 0;

/** Return the text of an answer, which may break off. */
async function body(response, signal) {
  try {
    return await response.text();
  } catch (error) {
    if (signal?.aborted || error.name === "AbortError") {
      throw error;
    }
    throw new UnreachableError();
  }
}

/** Make a GET request and return what is shown there; null where there is nothing to show yet. */
export async function look(path, options = {}) {
  const response = await send("GET", path, { ...options, headers: { ...options.headers, Prefer: "nothing=204" } });
  return response.status === 204 ? null : answered(response.status, response.headers, await body(response, options.signal));
}

function answered(status, headers, text) {
  const started = headers.get("Job-Id");
  if (status === 202 && started) {
    return { job: started };
  }
  const kind = headers.get("Content-Type") || "";
  if (!kind.startsWith("application/json")) {
    if (kind.startsWith("text/html")) {
      throw elsewhere(status);
    }
    return text;
  }
  const value = parsed(text);
  if (value === null && text !== "null") {
    throw new UnreachableError();
  }
  return value;
}

/**
 * Make a request with a form or a file, and tell how much of it was sent: fetch cannot.
 *
 * @param {(sent: number, total: number) => void} progress
 */
export async function upload(method, path, fields, progress, options = {}) {
  const signal = given(options);
  const url = await address(method, path, options.query);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const stop = () => request.abort();
    const end = (settle, value) => {
      signal.removeEventListener("abort", stop);
      settle(value);
    };
    const headers = { get: (name) => request.getResponseHeader(name) };
    request.open(method, url);
    for (const [name, value] of Object.entries(options.headers || {})) {
      request.setRequestHeader(name, value);
    }
    request.upload.onprogress = ({ loaded, total }) => progress(loaded, total);
    request.onabort = () => end(reject, new DOMException("Ended", "AbortError"));
    request.onerror = async () => end(reject, await whyUnsent(fields));
    request.onload = async () => {
      const text = async () => request.responseText;
      try {
        if (request.status < 200 || request.status > 299) {
          throw await refusal(request.status, headers, text);
        }
        end(resolve, answered(request.status, headers, request.responseText));
      } catch (error) {
        end(reject, error);
      }
    };
    signal.addEventListener("abort", stop);
    request.send(fields instanceof Blob ? fields : form(fields));
  });
}

/** What began to be saved just now: a second click that comes at once is no wish for a second file. */
const begun = new Set();

/** Save what a path answers as a file: by a ticket, as neither a key in an address nor gigabytes in a page will do. */
export async function download(path, filename = undefined) {
  if (begun.has(path)) {
    return;
  }
  begun.add(path);
  setTimeout(() => begun.delete(path), ONE_CLICK);
  const { url } = await call("POST", "/downloads", { fields: { path, filename } });
  const link = document.createElement("a");
  link.href = url;
  link.download = "";
  document.body.append(link);
  link.click();
  link.remove();
}

/** Return whether a credential may make a request; the appliance decides, this only keeps menus short. */
export function allows(session, method, path) {
  if (session.administrator) {
    return true;
  }
  if (path === "/session" || path === "/downloads") {
    return true; // of what it may read
  }
  if (CLOSED.some((each) => path === each || path.startsWith(`${each}/`))) {
    return false;
  }
  return session.scopes.some((scope) => {
    if (scope === "all" || scope === "read") {
      return scope === "all" || method === "GET";
    }
    const [wanted, prefix] = scope.includes(" ") ? scope.split(" ") : ["", scope];
    return (wanted === "" || wanted === method) && (path === prefix || path.startsWith(`${prefix}/`));
  });
}
