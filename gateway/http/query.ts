/** Reads a URL's query by its schema: unknown, repeated and ill-formed parameters are refused, never ignored. */
import type { Static, TObject, TSchema } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import { Refusal } from "../../actors/messages/errors.ts";

/**
 * @param schema flat: strings, integers and literals; each property's description says what is allowed
 * @throws INVALID_PARAMETER naming the parameter, its value and what is allowed
 */
export function readQuery<S extends TObject>(url: string, schema: S): Static<S> {
  const properties = schema.properties as Record<string, TSchema>;
  const query: Record<string, string | number> = {};
  const start = url.indexOf("?");
  for (const [name, text] of new URLSearchParams(start < 0 ? "" : url.slice(start + 1))) {
    const property = Object.hasOwn(properties, name) ? properties[name] : undefined;
    if (!property)
      throw new Refusal("INVALID_PARAMETER", `There is no parameter "${name.slice(0, 50)}" here`, {
        parameter: name.slice(0, 50),
        allowed: Object.keys(properties),
      });
    if (name in query)
      throw new Refusal("INVALID_PARAMETER", `${name} is there twice; allowed: once`, { parameter: name });
    const isInteger = property.type === "integer" && /^-?\d{1,16}$/.test(text) && Number.isSafeInteger(Number(text));
    const value = isInteger ? Number(text) : text;
    if (!Value.Check(property, value)) throw notAllowed(name, `"${text.slice(0, 80)}"`, property);
    query[name] = value;
  }
  for (const name of schema.required ?? [])
    if (!(name in query)) throw notAllowed(name, "missing", properties[name] as TSchema);
  return query as Static<S>;
}

const notAllowed = (parameter: string, shown: string, { description }: TSchema): Refusal =>
  new Refusal("INVALID_PARAMETER", `${parameter} is ${shown}; allowed: ${description}`, {
    parameter,
    allowed: description,
  });
