// What the appliance's own description, an OpenAPI document, says about a request.

import { PREFIX } from "../api.js";
import { plain } from "../schemas.js";

const operation = (document, method, path) => document.paths?.[PREFIX + path]?.[method.toLowerCase()] ?? {};

/** Return whether a request takes a parameter in its query. */
export function takes(document, method, path, name) {
  const parameters = operation(document, method, path).parameters ?? [];
  return parameters.map((each) => plain(each, document)).some((each) => each.in === "query" && each.name === name);
}

/** Return the schema of a form's parameter. */
export function parameter(document, method, path, name) {
  const { requestBody } = operation(document, method, path);
  return requestBody?.content?.["multipart/form-data"]?.schema?.properties?.[name] ?? {};
}
