// What the appliance's own description, an OpenAPI document, says about a request.

import { PREFIX } from "../api.js";
import { plain } from "../schemas.js";

const operation = (document, method, path) => document.paths?.[PREFIX + path]?.[method.toLowerCase()] ?? {};

/** Return whether a request takes a parameter in its query. */
export function takes(document, method, path, name) {
  const parameters = operation(document, method, path).parameters ?? [];
  return parameters.map((each) => plain(each, document)).some((each) => each.in === "query" && each.name === name);
}

/** The type of the job that a POST starts. */
export const starts = (document, path) => operation(document, "POST", path)["x-starts"]?.job;

/** Whether what a POST changes may be on trial. */
export const tries = (document, path) =>
  takes(document, "POST", path, "confirm") && starts(document, path) !== undefined && document.paths[`${PREFIX}${path}/confirm`]?.post !== undefined;

/** Return the schema of a form's parameter. */
export function parameter(document, method, path, name) {
  const { requestBody } = operation(document, method, path);
  return requestBody?.content?.["multipart/form-data"]?.schema?.properties?.[name] ?? {};
}

/** What this appliance serves. */
export class Served {
  constructor(document) {
    this.document = document;
    this.operations = Object.entries(document.paths).flatMap(([path, item]) =>
      Object.keys(item).map((method) => ({ method: method.toUpperCase(), template: path.slice(PREFIX.length).split("/") })),
    );
  }

  /** Return whether there is such an endpoint; a part of its path may be a parameter. */
  has(method, path) {
    const parts = path.split("/");
    return this.operations.some(
      ({ method: own, template }) =>
        own === method &&
        template.length === parts.length &&
        template.every((part, index) => part === parts[index] || part.startsWith("{")),
    );
  }
}
