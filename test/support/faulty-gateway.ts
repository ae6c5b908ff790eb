/** The shipped REST interface over a cluster in one process, with faults on the wire between it and its clients. */
import { type ErrorCode, Refusal } from "../../actors/messages/errors.ts";
import { createLogger } from "../../actors/node/log.ts";
import { problemResponse } from "../../gateway/http/problem.ts";
import { createGatewayServer } from "../../gateway/server.ts";
import { bytesIn, pathsIn, removeAll } from "./contents.ts";
import { freePorts } from "./free-ports.ts";
import { GatewayCluster } from "./gateway-cluster.ts";

/** Each fault happens once, on the next request that it fits. */
export interface Faults {
  /** Cut the connection of a GET after so many bytes; `cutWhen` holds the cut back until it resolves. */
  cutGetAfter?: number;
  cutWhen?: Promise<void>;
  /** Let so many bytes of a PATCH through, then cut the connection. */
  cutPatchAfter?: number;
  /** Flip a bit of the first byte of a GET. */
  damageGet?: boolean;
  /** Flip a bit of the first byte of a PUT. */
  damagePut?: boolean;
  /** Refuse with these codes, one request each. */
  refuse?: ErrorCode[];
  /** Names that no cluster has, and the next listing gives all the same. */
  listAlso?: string[];
}

type Pieces = ReadableStream<Uint8Array<ArrayBuffer>>;

/** Passes so many bytes on, then errors as soon as `when` resolves. */
function cutAfter(body: Pieces | null, bytes: number, when: Promise<void>): Pieces {
  const reader = body?.getReader();
  let left = bytes;
  return new ReadableStream({
    async pull(controller) {
      const piece = left > 0 ? await reader?.read() : undefined;
      if (piece?.value) controller.enqueue(piece.value.slice(0, left));
      left -= piece?.value?.length ?? left;
      if (left > 0) return;
      await when;
      controller.error(new Error("cut on order"));
      await reader?.cancel();
    },
    cancel: (reason) => reader?.cancel(reason),
  });
}

/** Flips a bit of the first byte. */
function damaged(body: Pieces | null): Pieces | null {
  let isFirst = true;
  const flip = new TransformStream<Uint8Array<ArrayBuffer>, Uint8Array<ArrayBuffer>>({
    transform(piece, controller) {
      const copy = piece.slice();
      if (isFirst && copy.length > 0) copy[0] = (copy[0] as number) ^ 1;
      isFirst &&= copy.length === 0;
      controller.enqueue(copy);
    },
  });
  return body?.pipeThrough(flip) ?? null;
}

export async function startFaultyGateway() {
  const sizes = {
    chunkSizeBytes: 1 << 20,
    blockSizeBytes: 1 << 16,
    readAheadBytes: 1 << 20,
    inlineChunkBytes: 1 << 12,
  };
  const cluster = await new GatewayCluster({ workers: 3, config: sizes }).up();
  const { data, config } = cluster;
  const log = createLogger("gateway-1", "silent");
  const app = createGatewayServer({ id: "gateway-1", config, backend: data, log, token: null, stopping: false });
  const requests: string[] = [];
  const faults: Faults = {};

  /** @returns the fault, which is spent by that */
  function take<K extends keyof Faults>(name: K): Faults[K] {
    const fault = faults[name];
    delete faults[name];
    return fault;
  }

  const withBody = (request: Request, body: Pieces | null): Request =>
    new Request(request.url, { method: request.method, headers: request.headers, body });

  async function pass(request: Request): Promise<Response> {
    const { method, body } = request;
    if (method === "PUT" && take("damagePut")) return app.handle(withBody(request, damaged(body as Pieces | null)));
    const cut = method === "PATCH" ? take("cutPatchAfter") : undefined;
    if (cut === undefined) return app.handle(request);
    await app.handle(withBody(request, cutAfter(body as Pieces | null, cut, Promise.resolve())));
    return problemResponse(new Refusal("OVERLOADED", "cut on order"), "1");
  }

  async function answer(response: Response, isListing: boolean): Promise<Response> {
    const body = response.body as Pieces | null;
    if (take("damageGet")) return new Response(damaged(body), response);
    const cut = take("cutGetAfter");
    if (cut !== undefined) return new Response(cutAfter(body, cut, take("cutWhen") ?? Bun.sleep(20)), response);
    const names = isListing ? take("listAlso") : undefined;
    if (!names) return response;
    const listed = (await response.json()) as { entries: object[] };
    const invented = names.map((path) => ({ ...listed.entries[0], path }));
    return Response.json({ ...listed, entries: [...listed.entries, ...invented] });
  }

  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: freePorts(1)[0],
    error: () => new Response(null, { status: 500 }),
    async fetch(request) {
      const { pathname } = new URL(request.url);
      requests.push(`${request.method} ${pathname}`);
      const refused = faults.refuse?.shift();
      if (refused) return problemResponse(new Refusal(refused, "refused on order"), "1");
      const response = await pass(request);
      return request.method === "GET" ? answer(response, pathname === "/files") : response;
    },
  });
  return {
    url: `http://127.0.0.1:${server.port}`,
    data,
    requests,
    faults,
    paths: () => pathsIn(data),
    bytesOf: (path: string) => bytesIn(data, path),
    /** No file, no fault, no memory of requests. */
    async clear(): Promise<void> {
      for (const name of Object.keys(faults)) take(name as keyof Faults);
      requests.length = 0;
      await removeAll(data);
    },
    async stop(): Promise<void> {
      await server.stop(true);
      await cluster.stop();
    },
  };
}

export type FaultyGateway = Awaited<ReturnType<typeof startFaultyGateway>>;
