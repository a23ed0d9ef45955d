// The JSON Schemas of the OpenAPI document, as far as forms need them.

/** Return a schema without references, combinations of one, and what only allows that nothing is given. */
export function plain(schema, document) {
  let found = schema ?? {};
  for (let depth = 0; found.$ref && depth < 10; depth += 1) {
    found = found.$ref.slice(2).split("/").reduce((value, key) => value?.[key.replaceAll("~1", "/").replaceAll("~0", "~")], document) ?? {};
  }
  const { allOf, ...rest } = found;
  if (allOf) {
    const parts = allOf.map((each) => plain(each, document));
    const objects = parts.filter((each) => each.type || each.properties || each.enum);
    found = Object.assign({}, ...objects, rest);
    if (objects.some((each) => each.properties)) {
      found.properties = Object.assign({}, ...objects.map((each) => each.properties), rest.properties);
    }
  }
  const choices = variants(found);
  const left = choices?.filter((each) => each.const !== "" && each.type !== "null");
  // Of a text that may also be a number, the text is what a form sends.
  if (left?.length === 1 || left?.every((each) => each.type && !each.properties && !("const" in each))) {
    return { ...plain(left[0], document), ...without(found) };
  }
  if (found.enum?.length === 1) {
    return { ...found, const: found.enum[0] };
  }
  return Array.isArray(found.type) ? { ...found, type: found.type.find((each) => each !== "null") } : found;
}

/** Return what is said beside the choice. */
function without(schema) {
  const shared = { ...schema };
  delete shared.anyOf;
  delete shared.oneOf;
  return shared;
}

const variants = (schema) => schema.oneOf ?? schema.anyOf;

/** Return the options of a choice between values, as `{value, label}`; null if it is none. */
export function options(schema) {
  const named = variants(schema);
  if (named?.length && named.every((each) => "const" in each)) {
    return named.filter((each) => each.const !== "").map((each) => ({ value: String(each.const), label: each.title ?? String(each.const) }));
  }
  return schema.enum?.map((each) => ({ value: String(each), label: String(each) })) ?? null;
}

/** Return the objects of which a value is one, with what they have in common; null if it is no such choice. */
export function objects(schema, document) {
  const found = variants(schema)?.map((each) => plain(each, document));
  if (!found?.length || !found.every((each) => each.properties)) {
    return null;
  }
  const shared = without(schema);
  return found.map((each, index) => ({
    ...each,
    title: each.title ?? String(index + 1),
    properties: { ...shared.properties, ...each.properties },
    required: [...(shared.required ?? []), ...(each.required ?? [])],
  }));
}

/** Return the kind of a field: choice, object, list, checks, select, check, file, secret, number, fixed or text. */
export function kindOf(schema, document) {
  if (objects(schema, document)) {
    return "choice";
  }
  if (schema.properties) {
    return "object";
  }
  if ("const" in schema) {
    return "fixed";
  }
  if (schema.type === "array") {
    return options(plain(schema.items, document)) ? "checks" : "list";
  }
  if (options(schema)) {
    return "select";
  }
  if (schema.format === "binary" || schema.contentMediaType === "application/octet-stream") {
    return "file";
  }
  const kinds = { boolean: "check", integer: "number", number: "number", object: "json" };
  return kinds[schema.type] ?? (schema.writeOnly || schema.format === "password" ? "secret" : "text");
}
