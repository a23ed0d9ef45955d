// The lines of the audit log in plain words, one for each thing that was done.

import { jobTitle, requestTitle } from "./names.js";
import { phrase, plural, t } from "./text.js";

/** Who is said to have done it in the lines that are written twice, for tools of the original API. */
const ORIGINAL = "web";
const TARGET = /^([A-Z]+) (\S+)(?: (\d{3}))?(?: (\d{6,}-\S+))?(?: and (\d+) more within .*)?$/;
const CHANGE = /^(\S+) E\d{4}$/;
const OUTCOMES = {
  "change.reverted": phrase("Taken back"),
  "change.failed": phrase("Failed"),
  "change.lost": phrase("Failed, and not taken back"),
  "authentication.failure": phrase("Refused: wrong token"),
  "authorization.refused": phrase("Refused: the token may not do that"),
  "authorization.revoked": phrase("Ended: the token was changed or revoked"),
  "request.repeated": phrase("Sent twice, done once"),
};

/**
 * Return what there is to show of some lines, the newest first: those before and after a change are one.
 *
 * @param {{time: number, id: string, client: string, user: string, action: string, target: string}[]} lines
 */
export function entries(lines) {
  const ended = new Set(lines.filter((line) => line.action === "request.done").map((line) => line.id));
  return lines.filter((line) => line.client !== ORIGINAL && !(line.action === "request.begun" && ended.has(line.id))).map(entry);
}

function entry(line) {
  const [, method, path, status, job, more] = TARGET.exec(line.target) ?? [];
  const known = method !== undefined;
  return {
    time: line.time,
    client: line.client === "-" ? "" : line.client,
    user: line.user,
    what: known ? requestTitle(method, path) : line.target.replace(CHANGE, (_, type) => jobTitle(type)),
    job,
    more: more ? plural(Number(more), "and {count} more time within a minute", "and {count} more times within a minute") : "",
    ...outcome(line.action, status),
  };
}

/** How it ended, and the mark for that. */
function outcome(action, status) {
  if (Object.hasOwn(OUTCOMES, action)) {
    return { outcome: t(OUTCOMES[action]), kind: action === "request.repeated" ? "info" : "bad" };
  }
  if (action === "request.begun" || action === "download") {
    return { outcome: t("Begun"), kind: "info" };
  }
  if (action !== "request.done") {
    return { outcome: action, kind: "info" };
  }
  const kinds = { 2: [phrase("Done"), "good"], 4: [phrase("Refused"), "warn"], 5: [phrase("Failed"), "bad"] };
  const [text, kind] = status === "202" ? [phrase("Started"), "good"] : (kinds[status?.[0]] ?? [phrase("Ended"), "info"]);
  return { outcome: t(text), kind };
}
