// The screens of plugins: those that they describe, and a page for each first part of a path that nobody described.

import { PREFIX } from "./api.js";
import { prettified } from "./names.js";
import { SCREENS } from "./screens.js";
import { phrase } from "./text.js";

/** First parts of paths for which there is a screen, or which are for programs. */
const COVERED = new Set(
  "audit backup build certs changelog debug downloads endpoints events health jobs license logs metrics reboot services session settings setup storage tokens update uploads version".split(" "),
);
const GROUP = phrase("More");
const FORM = /^(multipart\/form-data|application\/x-www-form-urlencoded)$/;

/**
 * Return the screens of plugins that the appliance serves and the credential may use, in the order of the menu.
 *
 * @param {any} document the OpenAPI document.
 * @param {(method: string, path: string) => boolean} may
 */
export function pluginScreens(document, may) {
  const described = (document["x-jidoteki-screens"] ?? []).map(own);
  const taken = new Set(described.map((screen) => first(screen.path)));
  const paths = Object.keys(document.paths).filter((path) => path.startsWith(`${PREFIX}/`)).map((path) => path.slice(PREFIX.length));
  const free = [...new Set(paths.map(first))].filter((name) => !COVERED.has(name) && !taken.has(name));
  const made = free.map((name) => page(document, name, paths.filter((path) => first(path) === name)));
  const open = described.filter((screen) => ["GET", "POST", "PUT", "PATCH", "DELETE"].some((method) => may(method, screen.path)));
  return [...open, ...made]
    .map((screen) => ({ ...screen, parts: screen.parts.filter((part) => !part.path || may(part.method, part.path)) }))
    .filter((screen) => screen.script || screen.parts.some((part) => part.path))
    .sort((a, b) => a.order - b.order || a.title.localeCompare(b.title));
}

const first = (path) => path.split("/")[1];

/** An address that no screen of the dashboard has. */
const address = (name) => (SCREENS.some((screen) => screen.name === name) ? `more-${name}` : name);

/** The screen that a plugin describes; `script` is its module, of which the appliance says that it is the plugin's own. */
function own(screen) {
  const script = screen.module.startsWith("/dashboard/plugins/") ? screen.module : undefined;
  return { ...screen, name: address(screen.name), script, module: script ?? "./plugin_page.js" };
}

/** The page that is made for all paths with a first part. */
function page(document, name, paths) {
  const parts = paths.flatMap((path) =>
    Object.entries(document.paths[PREFIX + path])
      .map(([method, operation]) => part(path, method.toUpperCase(), operation))
      .filter(Boolean),
  );
  const [shown, changed] = [parts.filter((each) => each.method === "GET"), parts.filter((each) => each.method !== "GET")];
  return { name: address(name), title: prettified(name), group: GROUP, order: 0, summary: "", path: `/${name}`, parts: [...shown, ...changed], module: "./plugin_page.js" };
}

/** What there is of one operation; nothing of one that a form cannot make. */
function part(path, method, operation) {
  const title = titled(path, method, operation);
  if (method === "GET") {
    const kind = kindOf(path, operation);
    return kind && { kind, path, method, title };
  }
  const media = Object.keys(operation.requestBody?.content ?? {});
  const fits = media.length === 0 || media.some((each) => FORM.test(each));
  return fits && method !== "HEAD" && method !== "OPTIONS" ? { kind: "form", path, method, title } : undefined;
}

function kindOf(path, operation) {
  const media = Object.keys(operation.responses[200]?.content ?? {});
  if (media.includes("text/event-stream")) {
    return undefined;
  }
  if (path.includes("{") || operation.parameters?.some((each) => each.in === "query" && each.required)) {
    return "question";
  }
  if (media.length === 0 || media.some((each) => each.startsWith("application/json"))) {
    return "status";
  }
  return media.every((each) => each.startsWith("text/")) ? "log" : "download";
}

/** The sentence of the operation, unless there is none but its method and path. */
function titled(path, method, operation) {
  if (operation.summary && operation.summary !== `${method} ${path}`) {
    return operation.summary;
  }
  const rest = path.split("/").slice(2).filter((each) => !each.startsWith("{")).join(" ");
  return rest ? prettified(rest) : "";
}
