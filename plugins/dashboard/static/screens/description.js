// What the appliance's own description, an OpenAPI document, says about a request.

import { PREFIX } from "../api.js";

let reading = null;

async function read() {
  const response = await fetch("/docs/openapi.json");
  return response.ok ? response.json() : {};
}

/** Return the description of a request; an empty one where the appliance does not serve it. */
async function operation(method, path) {
  reading ??= read().catch(() => ({}));
  const document = await reading;
  return { document, found: document.paths?.[PREFIX + path]?.[method.toLowerCase()] ?? {} };
}

/** Return whether a request takes a parameter in its query. */
export async function takes(method, path, name) {
  const { document, found } = await operation(method, path);
  const parameters = (found.parameters ?? []).map((each) => resolved(document, each));
  return parameters.some((each) => each?.in === "query" && each.name === name);
}

/** Return the schema of a form's parameter. */
export async function parameter(method, path, name) {
  const { found } = await operation(method, path);
  return found.requestBody?.content?.["multipart/form-data"]?.schema?.properties?.[name] ?? {};
}

/** https://www.rfc-editor.org/rfc/rfc6901, of references within the document. */
function resolved(document, value) {
  const path = value.$ref?.startsWith("#/") ? value.$ref.slice(2).split("/") : [];
  return value.$ref ? path.reduce((found, name) => found?.[name], document) : value;
}
