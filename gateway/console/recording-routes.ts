/** Recordings in and out: the last minutes as one file, and the check of a file that a page was given. */
import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { Refusal } from "../../actors/messages/errors.ts";
import { SERVER_OPTIONS } from "../../actors/node/http/server-options.ts";
import { boundedBody } from "../http/bounded-body.ts";
import { BINARY, describe, NO_QUERY } from "../http/describe.ts";
import { readQuery } from "../http/query.ts";
import { json, looking } from "./answers.ts";
import { RecordingHeader } from "./api.ts";
import type { Console } from "./console.ts";
import { checkRecording } from "./recording.ts";
import { RECORDING_LIMITS } from "./recording-reader.ts";

const RecordingQuery = Type.Object({
  minutes: Type.Optional(Type.Integer({ minimum: 1, maximum: 1440, description: "1 to 1440; default 10" })),
});

export const recordingRoutes = (console: Console | null) =>
  new Elysia(SERVER_OPTIONS)
    .get(
      "/recording",
      async ({ request }) => {
        const { minutes = 10 } = readQuery(request.url, RecordingQuery);
        const { bytes, name } = await (await looking(console)).recording(minutes);
        return new Response(bytes, {
          headers: {
            "content-type": "application/gzip",
            "content-disposition": `attachment; filename="${name}"`,
            "cache-control": "no-store",
          },
        });
      },
      {
        detail: describe({
          summary: "The last minutes as one file",
          tag: "cluster",
          query: RecordingQuery,
          responses: { 200: { description: "gzipped NDJSON", content: { "application/gzip": BINARY } } },
          errors: ["INVALID_PARAMETER", "NOT_RECORDING"],
        }),
      },
    )
    .post(
      "/recording/check",
      async ({ request }) => {
        readQuery(request.url, NO_QUERY);
        return json(await recordingChecked(request));
      },
      {
        parse: "none",
        detail: describe({
          summary: "Check a recording",
          tag: "cluster",
          query: NO_QUERY,
          body: { "application/gzip": BINARY },
          responses: { 200: { description: "its header", content: { "application/json": RecordingHeader } } },
          errors: [
            "BAD_RECORDING",
            "UNKNOWN_RECORDING_VERSION",
            "PAYLOAD_TOO_LARGE",
            "BODY_INCOMPLETE",
            "OVERLOADED",
            "INVALID_PARAMETER",
            "CROSS_SITE",
          ],
        }),
      },
    );

/** A check takes seconds of a processor, in small turns; one at a time leaves room for everything else. */
let isChecking = false;

async function recordingChecked(request: Request): Promise<RecordingHeader> {
  const { packedBytes } = RECORDING_LIMITS;
  const tooLarge = `A recording has at most ${packedBytes} bytes`;
  if (Number(request.headers.get("content-length") ?? 0) > packedBytes)
    throw new Refusal("PAYLOAD_TOO_LARGE", tooLarge);
  if (isChecking) throw new Refusal("OVERLOADED", "Another recording is being checked here");
  isChecking = true;
  try {
    const read = await checkRecording(boundedBody(request, packedBytes, tooLarge));
    if (!read.ok) throw new Refusal(read.code, read.message);
    return read.header;
  } finally {
    isChecking = false;
  }
}
