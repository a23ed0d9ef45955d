// Leaving a screen, or the login.

import { untilSignedOut } from "./api.js";

/** Call a function once the screen or the login is left, in whichever way, until a signal says that it does not matter. */
export function whenLeft(action, screen, until) {
  addEventListener("popstate", action, { signal: until });
  for (const each of [untilSignedOut(), ...(screen ? [screen] : [])]) {
    each.addEventListener("abort", action, { signal: until });
    if (each.aborted) {
      action();
    }
  }
}
