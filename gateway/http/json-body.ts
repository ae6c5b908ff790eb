/** Reads a small JSON body, bounded, and checks it against its digests and its schema. */
import type { Static, TSchema } from "@sinclair/typebox";
import { Value } from "@sinclair/typebox/value";
import { Refusal } from "../../actors/messages/errors.ts";
import { boundedBody } from "./bounded-body.ts";
import { verifyDigests } from "./digests.ts";

const MAX_JSON_BYTES = 256 << 10;

/** @throws UNSUPPORTED_MEDIA_TYPE, PAYLOAD_TOO_LARGE, INVALID_BODY, BODY_INCOMPLETE, INVALID_HEADER, DIGEST_MISMATCH */
export async function readJson<S extends TSchema>(request: Request, schema: S): Promise<Static<S>> {
  const type = request.headers.get("content-type")?.split(";", 1)[0]?.trim().toLowerCase();
  if (type !== "application/json")
    throw new Refusal("UNSUPPORTED_MEDIA_TYPE", `Content-Type is ${type ?? "missing"}; allowed: application/json`);
  let value: unknown;
  const tooLarge = `The body has more than ${MAX_JSON_BYTES} bytes`;
  const bytes = Buffer.concat(await Array.fromAsync(boundedBody(request, MAX_JSON_BYTES, tooLarge)));
  verifyDigests(request.headers, bytes);
  try {
    value = JSON.parse(bytes.toString("utf8"));
  } catch (cause) {
    throw new Refusal("INVALID_BODY", `The body is not JSON: ${(cause as Error).message}`);
  }
  const wrong = Value.Errors(schema, value).First();
  if (wrong)
    throw new Refusal("INVALID_BODY", `${wrong.path.slice(1) || "The body"}: ${wrong.message}`, {
      field: wrong.path,
      ...(wrong.schema.description ? { allowed: wrong.schema.description } : {}),
    });
  return value as Static<S>;
}
