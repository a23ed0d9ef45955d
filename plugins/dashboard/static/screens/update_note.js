// What this tab knows of the update that it started, for itself after it was loaded anew.

const NAME = "jidoteki-update";

/** Keep what is known: `{job, from, to}`, the versions null where they are not known. */
export function keep(known) {
  try {
    sessionStorage.setItem(NAME, JSON.stringify(known));
  } catch {
    // A browser that keeps nothing tells less after it loaded the page anew.
  }
}

/** Return what is known of a job that this tab started, or null. */
export function of(job) {
  try {
    const known = JSON.parse(sessionStorage.getItem(NAME));
    return known?.job === job ? known : null;
  } catch {
    return null;
  }
}
