// What the appliance's own description, an OpenAPI document, says about a request.

import { PREFIX } from "../api.js";
import { plain } from "../schemas.js";

const operation = (document, method, path) => document.paths?.[PREFIX + path]?.[method.toLowerCase()] ?? {};

/** Return whether a request takes a parameter in its query. */
export function takes(document, method, path, name) {
  const parameters = operation(document, method, path).parameters ?? [];
  return parameters.map((each) => plain(each, document)).some((each) => each.in === "query" && each.name === name);
}

/** Return the type of the job that a POST starts; undefined where the description does not say it. */
export const starts = (document, path) => operation(document, "POST", path)["x-starts"]?.job;

/** Return whether what a POST changes may be on trial, until somebody confirms it beside it. */
export const tries = (document, path) =>
  takes(document, "POST", path, "confirm") && starts(document, path) !== undefined && document.paths[`${PREFIX}${path}/confirm`]?.post !== undefined;

/** Return the schema of a form's parameter. */
export function parameter(document, method, path, name) {
  const { requestBody } = operation(document, method, path);
  return requestBody?.content?.["multipart/form-data"]?.schema?.properties?.[name] ?? {};
}
