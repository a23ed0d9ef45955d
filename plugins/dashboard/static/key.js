// The key that requests are signed with. It is made of the token and cannot be read by any script, this one included.

const DATABASE = "jidoteki";
const STORE = "keys";
/** The names of the key that is kept because somebody wants that, and of that of a page that was left. */
const NAME = "key";
const LEFT = "left";
const DAYS_KEPT = 30;
/** Seconds for which the key outlives this page, so that a reload does not sign out. */
const HANDOVER = 30;
const ASK_OTHERS = 300;
const LONGEST_REPLACEMENT = 60_000;

const encoder = new TextEncoder();
const channel = new BroadcastChannel("jidoteki-key");
const hex = (buffer) => Array.from(new Uint8Array(buffer), (byte) => byte.toString(16).padStart(2, "0")).join("");

let key = null;
/** Ends when the key was replaced, here or in another tab; null while it is not. */
let replacing = null;
const forgotten = new Set();
const found = new Set();

/** Return the key for a token; https://www.rfc-editor.org/rfc/rfc2104 over the hexadecimal SHA-256 of the token. */
export async function fromToken(token) {
  const digest = hex(await crypto.subtle.digest("SHA-256", encoder.encode(token)));
  return crypto.subtle.importKey("raw", encoder.encode(digest), { name: "HMAC", hash: "SHA-256" }, false, ["sign"]);
}

/** Return the value of `?hash=` for a request; with the key of this browser not while that is being replaced. */
export async function hash(method, path, signer = undefined) {
  await (signer === undefined && replacing?.promise);
  const given = signer ?? key;
  if (given === null) {
    throw new DOMException("Not signed in", "AbortError");
  }
  return hex(await crypto.subtle.sign("HMAC", given, encoder.encode(method + path)));
}

export const isPresent = () => key !== null;

/** Sign in, in this tab and, on request, in those of the same browser. */
export async function use(given, kept) {
  key = given;
  channel.postMessage({ key });
  await (kept ? store(DAYS_KEPT * 86400) : erase());
}

/**
 * Replace the key. Other requests of this browser wait meanwhile: signed with the former key they would be refused.
 *
 * @param {CryptoKey} given
 * @param {(former: CryptoKey) => Promise<void>} change makes the appliance accept the new one.
 */
export async function replace(given, change) {
  const end = wait();
  channel.postMessage({ replacing: true });
  try {
    await change(key);
    key = given;
    const record = await read(NAME);
    if (record) {
      await store((record.until - Date.now()) / 1000);
    }
  } finally {
    channel.postMessage({ replaced: key });
    end();
  }
}

/** Let requests wait until the key was replaced, but not for ever: the tab that does it may be closed. */
function wait() {
  const { promise, resolve } = Promise.withResolvers();
  const timer = setTimeout(resolve, LONGEST_REPLACEMENT);
  const end = () => (clearTimeout(timer), (replacing = null), resolve());
  replacing = { promise, end };
  return end;
}

/** Find the key that another tab has, or that was kept; true if there is one. */
export async function recover() {
  const [kept, handedOver] = [await read(NAME), await read(LEFT)];
  const record = [kept, handedOver].find((each) => isValid(each) && each.key.extractable === false);
  key = record?.key ?? key; // before it is erased: this page may be loaded again at any moment, and hands over what it has
  await erase(LEFT);
  if (record) {
    return true;
  }
  await erase(NAME);
  return askOthers();
}

/** A clock that was put back must not give a key more time than it had. */
const isValid = (record) => record?.until > Date.now() && record.until - Date.now() <= record.seconds * 1000;

/** Keep the key over a reload of this page. It is one request: a page that is being left has no time for a second one. */
export function handOver() {
  return key === null ? Promise.resolve() : store(HANDOVER, LEFT);
}

/** Sign out in all tabs; `dead` is a reason that others show. */
export async function forget(reason = "") {
  key = null;
  channel.postMessage({ forget: reason });
  await erase();
}

/** Call a function with a reason once another tab signs out. */
export function onForgotten(listener) {
  forgotten.add(listener);
}

/** Call a function once another tab signs in. */
export function onFound(listener) {
  found.add(listener);
}

channel.onmessage = ({ data }) => {
  if (data.key instanceof CryptoKey && data.key.extractable === false && key === null) {
    key = data.key;
    found.forEach((listener) => listener());
  } else if (data.replacing && key !== null) {
    wait();
  } else if (data.replaced instanceof CryptoKey && data.replaced.extractable === false && key !== null) {
    key = data.replaced;
    replacing?.end();
  } else if (data.ask && key !== null) {
    channel.postMessage({ key });
  } else if (data.forget !== undefined && key !== null) {
    key = null;
    forgotten.forEach((listener) => listener(data.forget));
  }
};

function askOthers() {
  return new Promise((resolve) => {
    const end = (answered) => {
      clearTimeout(waiting);
      found.delete(answer);
      resolve(answered);
    };
    const answer = () => end(true);
    const waiting = setTimeout(() => end(false), ASK_OTHERS);
    found.add(answer);
    channel.postMessage({ ask: true });
  });
}

function open() {
  return new Promise((resolve, reject) => {
    const opening = indexedDB.open(DATABASE, 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
    opening.onsuccess = () => resolve(opening.result);
    opening.onerror = () => reject(opening.error);
  });
}

// Opened once: a page that is being left has no time for it.
const database = open();
database.catch(() => undefined);

async function run(mode, action) {
  const transaction = (await database).transaction(STORE, mode);
  return new Promise((resolve, reject) => {
    const request = action(transaction.objectStore(STORE));
    transaction.commit(); // not once it was answered: the page may be gone by then
    transaction.oncomplete = () => resolve(request.result);
    transaction.onabort = () => reject(transaction.error);
  });
}

// A browser that keeps nothing, as in some private windows, loses the comfort and not the dashboard.
const read = (name) => run("readonly", (all) => all.get(name)).catch(() => undefined);
const erase = (name) => run("readwrite", (all) => (name ? all.delete(name) : all.clear())).catch(() => undefined);
const store = (seconds, name = NAME) =>
  run("readwrite", (all) => all.put({ key, until: Date.now() + seconds * 1000, seconds }, name)).catch(() => undefined);
