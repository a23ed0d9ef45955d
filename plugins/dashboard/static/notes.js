// What this tab has to remember while it loads the page anew.

const PREFIX = "jidoteki-";

/** Keep a value under a name; null where there is none any more. */
export function keep(name, value) {
  try {
    sessionStorage.setItem(PREFIX + name, JSON.stringify(value));
  } catch {
    // A browser that keeps nothing tells less after it loaded the page anew.
  }
}

/** Return what was kept, or null. */
export function read(name) {
  try {
    return JSON.parse(sessionStorage.getItem(PREFIX + name));
  } catch {
    return null;
  }
}
