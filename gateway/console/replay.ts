/** Serves a recording to the console's page, with no cluster behind it: `dfs replay FILE`. */
import { Elysia } from "elysia";
import { Refusal } from "../../actors/messages/errors.ts";
import { checkTarget, serve } from "../../actors/node/entrance.ts";
import { SERVER_OPTIONS } from "../../actors/node/mailbox.ts";
import { checkHost } from "../rest/front-door.ts";
import { problemResponse } from "../rest/problem.ts";
import type { About, Recording } from "./api.ts";
import { openRecording } from "./recording.ts";
import { servePage } from "./serve-page.ts";

/** @throws Refusal BAD_RECORDING, UNKNOWN_RECORDING_VERSION */
export async function readRecording(bytes: Uint8Array<ArrayBuffer>): Promise<Recording> {
  const read = await openRecording(bytes);
  if (!read.ok) throw new Refusal(read.code, read.message);
  return read.recording;
}

/** @returns the page's address, and the way to end it */
export function serveReplay(
  bytes: Uint8Array<ArrayBuffer>,
  { header }: Recording,
  port: number,
): { url: string; stop: () => Promise<void> } {
  const about: About = {
    mode: "replay",
    gateway: "",
    cluster: header.cluster,
    software: header.software,
    now: header.to,
    recording: false,
    drills: { allowed: false, reason: "a recording cannot be broken" },
    timings: header.timings,
  };
  const app = new Elysia(SERVER_OPTIONS)
    .onRequest(({ request }) => {
      checkTarget(request);
      checkHost(request);
    })
    .onError(({ error }) => {
      const code = (error as { code?: string }).code;
      const refusal =
        error instanceof Refusal
          ? error
          : code === "NOT_FOUND"
            ? new Refusal("NO_SUCH_ROUTE", "A replay serves the console's page and one recording")
            : new Refusal("INTERNAL", "The replay failed");
      return problemResponse(refusal, crypto.randomUUID());
    })
    .use(servePage())
    .get("/", ({ redirect }) => redirect("/console"))
    .get("/console/api/about", () => about)
    .get("/console/api/machines", () => header.machines)
    .get(
      "/console/api/recording",
      () => new Response(bytes, { headers: { "content-type": "application/octet-stream" } }),
    );
  serve(app, `http://127.0.0.1:${port}`);
  return {
    url: `http://127.0.0.1:${app.server?.port}/console`,
    stop: async () => {
      await app.stop(true);
    },
  };
}
