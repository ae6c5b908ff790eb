/** Serves a recording to the console's page, with no cluster behind it: `dfs replay FILE`. */
import { Elysia } from "elysia";
import { Refusal } from "../../actors/messages/errors.ts";
import { checkTarget } from "../../actors/node/http/entrance.ts";
import { SERVER_OPTIONS, serve } from "../../actors/node/http/server-options.ts";
import { checkHost } from "../access/host.ts";
import { problemResponse } from "../http/problem.ts";
import type { About, RecordingHeader } from "./api.ts";
import { checkRecording, type RecordingFile } from "./recording.ts";
import { servePage } from "./serve-page.ts";

/** @throws Refusal BAD_RECORDING, UNKNOWN_RECORDING_VERSION */
export async function readHeader(file: RecordingFile): Promise<{ header: RecordingHeader; records: number }> {
  let records = 0;
  const read = await checkRecording(file, { record: () => void records++ });
  if (!read.ok) throw new Refusal(read.code, read.message);
  return { header: read.header, records };
}

/**
 * @param file served as it is: the page unpacks and reads it
 * @returns the page's address, and the way to end it
 */
export function serveReplay(
  file: Blob,
  header: RecordingHeader,
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
      () => new Response(file, { headers: { "content-type": "application/octet-stream" } }),
    );
  serve(app, `http://127.0.0.1:${port}`);
  return {
    url: `http://127.0.0.1:${app.server?.port}/console`,
    stop: async () => {
      await app.stop(true);
    },
  };
}
