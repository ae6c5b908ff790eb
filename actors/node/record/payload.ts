/** Cuts what an event carries down to what a record may hold: no secrets, no bytes, a kilobyte at most. */

const MAX_JSON = 1024;
const MAX_STRING = 200;
const MAX_ITEMS = 8;
const MAX_DEPTH = 3;
const SECRET = /secret|token|password|authorization|signature|credential|cookie/i;

function compact(value: unknown, depth = 0): unknown {
  if (value === null || typeof value === "number" || typeof value === "boolean") return value;
  if (typeof value === "string") return value.length > MAX_STRING ? `${value.slice(0, MAX_STRING)}…` : value;
  if (ArrayBuffer.isView(value) || value instanceof ArrayBuffer) return `(${value.byteLength} bytes)`;
  if (value instanceof Error) return `${value.name}: ${value.message}`.slice(0, MAX_STRING);
  if (typeof value !== "object") return value === undefined ? undefined : `(${typeof value})`;
  if (depth >= MAX_DEPTH) return Array.isArray(value) ? `(${value.length} items)` : "(…)";
  if (Array.isArray(value)) {
    const kept = value.slice(0, MAX_ITEMS).map((item) => compact(item, depth + 1));
    return value.length > MAX_ITEMS ? [...kept, `(${value.length - MAX_ITEMS} more)`] : kept;
  }
  const prototype = Object.getPrototypeOf(value);
  if (prototype !== Object.prototype && prototype !== null) return `(${prototype.constructor?.name ?? "object"})`;
  const entries = Object.entries(value).slice(0, 4 * MAX_ITEMS);
  return Object.fromEntries(
    entries.map(([key, inner]) => [key, SECRET.test(key) ? "(hidden)" : compact(inner, depth + 1)]),
  );
}

/** @returns undefined if no field is left */
export function payload(fields: Record<string, unknown>): Record<string, unknown> | undefined {
  const kept: Record<string, unknown> = {};
  let left = MAX_JSON;
  let cut = false;
  for (const [key, value] of Object.entries(fields)) {
    if (value === undefined) continue;
    const short = SECRET.test(key) ? "(hidden)" : compact(value);
    const size = key.length + (JSON.stringify(short)?.length ?? 0) + 4;
    if (size > left) {
      cut = true;
      continue;
    }
    left -= size;
    kept[key] = short;
  }
  if (cut) kept["…"] = "cut";
  return Object.keys(kept).length > 0 ? kept : undefined;
}
