// What this appliance serves, as its OpenAPI document says.

import { PREFIX } from "./api.js";

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
