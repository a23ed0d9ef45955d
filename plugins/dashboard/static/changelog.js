// A vendor's changelog as people read it: most are Markdown, of which headings and lists count; anything else stays as it is.

import { html } from "./vendor/lit-html.js";

const HEADING = /^#{1,6}\s+(.+?)\s*#*$/;
const ITEM = /^\s*[-*+]\s+(.+)$/;

/** Return the parts of a text: `{kind: "heading" | "list" | "text", lines}`. */
function parts(text) {
  const found = [];
  const add = (kind, line) => (found.at(-1)?.kind === kind && kind !== "heading" ? found.at(-1).lines.push(line) : found.push({ kind, lines: [line] }));
  for (const line of text.split(/\r?\n/)) {
    const [, heading] = HEADING.exec(line) ?? [];
    const [, item] = ITEM.exec(line) ?? [];
    const last = found.at(-1);
    if (heading) {
      add("heading", heading);
    } else if (item) {
      add("list", item);
    } else if (last?.kind === "list" && /^\s+\S/.test(line)) {
      last.lines.push(`${last.lines.pop()} ${line.trim()}`); // an item that is longer than its line
    } else if (line.trim() || last?.kind === "text") {
      add("text", line);
    }
  }
  return found;
}

/** Text without the marks of Markdown for emphasis and code. */
const plain = (text) => text.replace(/\*\*(.+?)\*\*/g, "$1").replace(/`([^`]+)`/g, "$1");

const VIEWS = {
  heading: ([line]) => html`<h3>${plain(line)}</h3>`,
  list: (lines) => html`<ul class="plain">${lines.map((line) => html`<li>${plain(line)}</li>`)}</ul>`,
  text: (lines) => html`<p class="paragraph">${plain(lines.join("\n").trim())}</p>`,
};

/** Return the view of a changelog; that it is one is said above it. */
export const changelogView = (text) =>
  parts(text)
    .filter(({ kind, lines }, index) => index > 0 || kind !== "heading" || !/^changelog$/i.test(lines[0]))
    .map(({ kind, lines }) => VIEWS[kind](lines));
