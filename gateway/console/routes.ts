/** The console's API: thin routes over `console.ts`. What they answer is described in `api.ts`. */
import { type TSchema, Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { Refusal } from "../../actors/messages/errors.ts";
import { SERVER_OPTIONS } from "../../actors/node/messaging/mailbox.ts";
import type { Gateway } from "../http/context.ts";
import { BINARY, describe, NO_QUERY, type RouteDescription } from "../http/describe.ts";
import { readJson } from "../http/json-body.ts";
import { readQuery } from "../http/query.ts";
import {
  About,
  Drill,
  DrillList,
  DrillRequest,
  MachineList,
  NodeStatus,
  RecordingHeader,
  RecordPage,
  RefusalList,
  Report,
  StateAt,
  Why,
} from "./api.ts";
import type { Console, Viewer } from "./console.ts";
import { checkRecording } from "./recording.ts";
import { RECORDING_LIMITS } from "./recording-reader.ts";

/** A page that hears nothing for three of these says that it shows what was. */
const HEARTBEAT_MS = 2000;
/** A page that falls this far behind is cut off; it comes back and resumes. */
const MOST_BUFFERED_BYTES = 4 << 20;

const Instant = (description: string) => Type.Integer({ minimum: 0, maximum: 8_640_000_000_000_000, description });
const StreamQuery = Type.Object({ after: Type.Optional(Type.String({ maxLength: 64, description: "a cursor" })) });
const StateQuery = Type.Object({ at: Type.Optional(Instant("ms since the epoch; default: now")) });
const RecordsQuery = Type.Object({
  from: Instant("ms since the epoch"),
  to: Instant("ms since the epoch"),
  limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 5000, description: "1 to 5000; default 1000" })),
  machine: Type.Optional(Type.String({ maxLength: 64, description: "only records of this machine" })),
});
const WhyQuery = Type.Object({
  record: Type.String({ pattern: "^[a-z0-9-]{1,63}/\\d{1,15}/\\d{1,15}$", description: "node/boot/number" }),
});
const RefusalsQuery = Type.Object({
  minutes: Type.Optional(Type.Integer({ minimum: 1, maximum: 1440, description: "1 to 1440; default 60" })),
});
const RecordingQuery = Type.Object({
  minutes: Type.Optional(Type.Integer({ minimum: 1, maximum: 1440, description: "1 to 1440; default 10" })),
});

const json = (value: unknown, status = 200): Response =>
  Response.json(value, { status, headers: { "cache-control": "no-store" } });

const answers = (
  summary: string,
  schema: TSchema,
  query: RouteDescription["query"],
  errors: RouteDescription["errors"] = [],
): ReturnType<typeof describe> =>
  describe({
    summary,
    tag: "cluster",
    query,
    responses: { 200: { description: "as `gateway/console/api.ts` says", content: { "application/json": schema } } },
    errors: ["INVALID_PARAMETER", ...errors],
  });

export function consoleRoutes(gateway: Gateway) {
  const get = (): Console => {
    if (gateway.console) return gateway.console;
    throw new Refusal("NOT_RECORDING", "This gateway follows no records");
  };
  return new Elysia({ name: "console", prefix: "/console/api", ...SERVER_OPTIONS })
    .get(
      "/about",
      async ({ request }) => {
        readQuery(request.url, NO_QUERY);
        return json(await get().about());
      },
      { detail: answers("What the console shows, and what it may do", About, NO_QUERY, ["NOT_RECORDING"]) },
    )
    .get(
      "/stream",
      ({ request }) => {
        const { after } = readQuery(request.url, StreamQuery);
        return stream(get(), after ?? request.headers.get("last-event-id"), request.signal);
      },
      {
        detail: describe({
          summary: "Records as they come, as server-sent events",
          tag: "cluster",
          query: StreamQuery,
          responses: { 200: { description: "events", content: { "text/event-stream": BINARY } } },
          errors: ["INVALID_PARAMETER", "NOT_RECORDING"],
        }),
      },
    )
    .get("/state", ({ request }) => json(get().stateAt(readQuery(request.url, StateQuery).at ?? null)), {
      detail: answers("Every actor and node at an instant", StateAt, StateQuery, ["NOT_RECORDING"]),
    })
    .get(
      "/records",
      ({ request }) => {
        const { from, to, limit = 1000, machine } = readQuery(request.url, RecordsQuery);
        return json(get().records(from, to, limit, machine));
      },
      { detail: answers("Records of a span, in causal order", RecordPage, RecordsQuery, ["NOT_RECORDING"]) },
    )
    .get(
      "/machines",
      ({ request }) => {
        readQuery(request.url, NO_QUERY);
        return json(get().machines());
      },
      { detail: answers("State machines as they are drawn", MachineList, NO_QUERY, ["NOT_RECORDING"]) },
    )
    .get(
      "/nodes",
      ({ request }) => {
        readQuery(request.url, NO_QUERY);
        return json(get().nodes());
      },
      { detail: answers("Nodes, and whether they answer", Type.Array(NodeStatus), NO_QUERY, ["NOT_RECORDING"]) },
    )
    .get(
      "/reports",
      ({ request }) => {
        readQuery(request.url, NO_QUERY);
        return json(get().reports());
      },
      {
        detail: answers("Losses of leaders and workers, taken apart", Type.Array(Report), NO_QUERY, ["NOT_RECORDING"]),
      },
    )
    .get("/why", ({ request }) => json(get().why(readQuery(request.url, WhyQuery).record)), {
      detail: answers("Why a record came about, and what it caused", Why, WhyQuery, [
        "NO_SUCH_RECORD",
        "NOT_RECORDING",
      ]),
    })
    .get("/refusals", ({ request }) => json(get().refusals(readQuery(request.url, RefusalsQuery).minutes ?? 60)), {
      detail: answers("What was refused or failed, with reasons", RefusalList, RefusalsQuery, ["NOT_RECORDING"]),
    })
    .get(
      "/recording",
      async ({ request }) => {
        const { bytes, name } = await get().recording(readQuery(request.url, RecordingQuery).minutes ?? 10);
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
    )
    .get(
      "/drills",
      async ({ request }) => {
        readQuery(request.url, NO_QUERY);
        return json(await get().drills.list());
      },
      { detail: answers("Drills that ran, and whether more may", DrillList, NO_QUERY, ["NOT_RECORDING"]) },
    )
    .post(
      "/drills",
      async ({ request }) => {
        readQuery(request.url, NO_QUERY);
        return json(await get().drills.start(await readJson(request, DrillRequest)), 202);
      },
      {
        parse: "none",
        detail: describe({
          summary: "Start a drill",
          description: "Kills, freezes, restarts, fills, damages or cuts off a node, and measures what that costs.",
          tag: "cluster",
          query: NO_QUERY,
          body: { "application/json": DrillRequest },
          responses: { 202: { description: "it is under way", content: { "application/json": Drill } } },
          errors: [
            "INVALID_BODY",
            "INVALID_PARAMETER",
            "BODY_INCOMPLETE",
            "PAYLOAD_TOO_LARGE",
            "UNSUPPORTED_MEDIA_TYPE",
            "NO_SUCH_NODE",
            "DRILLS_NOT_ALLOWED",
            "DRILL_UNDER_WAY",
            "NOT_RECORDING",
            "CROSS_SITE",
          ],
        }),
      },
    );
}

/** A check takes seconds of a processor, in small turns; one at a time leaves room for everything else. */
let isChecking = false;

async function recordingChecked(request: Request): Promise<RecordingHeader> {
  if (Number(request.headers.get("content-length") ?? 0) > RECORDING_LIMITS.packedBytes)
    throw new Refusal("PAYLOAD_TOO_LARGE", `A recording has at most ${RECORDING_LIMITS.packedBytes} bytes`);
  if (isChecking) throw new Refusal("OVERLOADED", "Another recording is being checked here");
  isChecking = true;
  try {
    const read = await checkRecording(bodyOf(request));
    if (!read.ok) throw new Refusal(read.code, read.message);
    return read.header;
  } finally {
    isChecking = false;
  }
}

async function* bodyOf(request: Request): AsyncGenerator<Uint8Array<ArrayBuffer>, void> {
  let bytes = 0;
  try {
    for await (const piece of request.body ?? []) {
      bytes += piece.length;
      if (bytes > RECORDING_LIMITS.packedBytes)
        throw new Refusal("PAYLOAD_TOO_LARGE", `A recording has at most ${RECORDING_LIMITS.packedBytes} bytes`);
      yield piece as Uint8Array<ArrayBuffer>;
    }
  } catch (cause) {
    if (cause instanceof Refusal) throw cause;
    throw new Refusal("BODY_INCOMPLETE", "The body broke off");
  }
}

function stream(host: Console, after: string | null, signal: AbortSignal): Response {
  const encoder = new TextEncoder();
  let stop = (): void => {};
  const body = new ReadableStream<Uint8Array>(
    {
      start(controller) {
        const send = (text: string): void => {
          if ((controller.desiredSize ?? 0) < 0) end();
          else controller.enqueue(encoder.encode(text));
        };
        const event = (name: string, data: unknown, id?: string): void =>
          send(`event: ${name}\n${id === undefined ? "" : `id: ${id}\n`}data: ${JSON.stringify(data)}\n\n`);
        const viewer: Viewer = {
          records: (records, cursor) => event("records", { records }, cursor),
          nodes: (nodes) => event("nodes", nodes),
          report: (report) => event("report", report),
          drill: (drill) => event("drill", drill),
          end: () => end(),
        };
        const watching = host.watch(after, viewer);
        const beat = setInterval(() => send(":hb\n\n"), HEARTBEAT_MS);
        let ended = false;
        const end = (): void => {
          if (ended) return;
          ended = true;
          clearInterval(beat);
          watching.stop();
          try {
            controller.close();
          } catch {
            // the page has gone already
          }
        };
        stop = end;
        signal.addEventListener("abort", end, { once: true });
        const { cursor, resumed } = watching;
        event("hello", { cursor, resumed, boot: String(process.pid), now: Date.now() }, resumed ? undefined : cursor);
        event("nodes", host.nodes());
      },
      cancel() {
        stop();
      },
    },
    { highWaterMark: MOST_BUFFERED_BYTES, size: (chunk) => chunk?.byteLength ?? 0 },
  );
  return new Response(body, {
    headers: { "content-type": "text/event-stream", "cache-control": "no-store", "x-accel-buffering": "no" },
  });
}
