/**
 * The two routes that carry bytes. `PUT /chunks/{id}/blocks/{n}` checks a block, stores it and at the same time sends it
 * on along its route; `GET` answers blocks as they lie on the disk. Nothing here is done per byte but the checksum.
 */
import { Elysia } from "elysia";
import { Refusal } from "../../messages/errors.ts";
import { ROUTE_SENDERS } from "../../messages/senders.ts";
import {
  BlockHeader,
  type BlockOutcomes,
  MAX_BLOCK_BYTES,
  type PutSmallChunks,
  type SmallChunkOutcome,
} from "../../messages/worker.ts";
import { refusalResponse } from "../../node/http/answers.ts";
import { type BlockToPut, type Hop, parseRoute, putBlock } from "../../node/http/block-requests.ts";
import { SERVER_OPTIONS } from "../../node/http/server-options.ts";
import { encode, WIRE_TYPE } from "../../node/http/wire.ts";
import type { Identity } from "../../node/identity/identity.ts";
import { assertMaySend } from "../../node/identity/sender.ts";
import { blockContent } from "../../node/identity/signature.ts";
import type { Logger } from "../../node/log.ts";
import { contextFrom, unpack } from "../../node/trace/carry.ts";
import { received, type Span } from "../../node/trace/span.ts";
import { declareWork } from "../../node/watchdog/current-work.ts";
import { formatChunkId, parseChunkId } from "../../rules/chunk-id.ts";
import { formatCrc32 } from "../../rules/crc32.ts";
import type { ChunkStore } from "../store/chunk-store.ts";

/** Requests and bytes being taken in at once; above either, OVERLOADED. */
const MAX_REQUESTS = 512;
const MAX_BYTES_IN_FLIGHT = 128 << 20;
/** As config.json allows. */
const MAX_BLOCKS_PER_READ = 1024;
const MAX_HOPS = 16;
/** For each worker that is left on the route. */
const HOP_TIMEOUT_MS = 5000;

const ROUTE = "/chunks/{id}/blocks/{n}";

const takingBlock = declareWork("take a block");
const readingBlocks = declareWork("read blocks");

export interface BlockTraffic {
  /** Block writes and messages being served. */
  requests: number;
  bytesInFlight: number;
  blocksWritten: number;
  bytesWritten: number;
  blocksRead: number;
  bytesRead: number;
  checksumMismatches: number;
}

export const noTraffic = (): BlockTraffic => ({
  requests: 0,
  bytesInFlight: 0,
  blocksWritten: 0,
  bytesWritten: 0,
  blocksRead: 0,
  bytesRead: 0,
  checksumMismatches: 0,
});

export interface BlockHost {
  identity: Identity;
  store: ChunkStore;
  traffic: BlockTraffic;
  log: Logger;
  /** @throws NOT_READY while starting, and for writes while stopping */
  assertReady(kind: "read" | "write"): void;
}

export function blockRoutes(host: BlockHost) {
  const { log, traffic } = host;
  return new Elysia({ name: "blocks", ...SERVER_OPTIONS })
    .put(
      "/chunks/:id/blocks/:n",
      async ({ request, params }) => {
        const bytes = Number(request.headers.get("content-length") ?? Number.NaN);
        // Beyond a block nothing is taken in; and a sum of such numbers would not come back to what it was.
        const counted = bytes <= MAX_BLOCK_BYTES ? bytes : 0;
        traffic.requests++;
        traffic.bytesInFlight += counted;
        try {
          if (traffic.requests > MAX_REQUESTS || traffic.bytesInFlight > MAX_BYTES_IN_FLIGHT)
            throw new Refusal("OVERLOADED", `${traffic.requests} requests are being served here`);
          return await putOne(host, request, params.id, params.n, bytes);
        } catch (error) {
          return refusalResponse(error, log);
        } finally {
          traffic.requests--;
          traffic.bytesInFlight -= counted;
        }
      },
      { parse: "none" },
    )
    .get("/chunks/:id/blocks/:n", async ({ request, params, query }) => {
      try {
        return await getSome(host, request, params.id, params.n, query.count);
      } catch (error) {
        return refusalResponse(error, log);
      }
    });
}

/** @throws UNAUTHENTICATED, WRONG_SENDER */
function assertSender({ identity }: BlockHost, method: "GET" | "PUT", { headers }: Request, id: string, n: string) {
  const path = `/chunks/${id}/blocks/${n}`;
  const { credentials, rolesOf } = identity;
  const sender = credentials.verify(headers.get("authorization"), method, path, blockContent(headers));
  if (rolesOf) assertMaySend("A block", ROUTE_SENDERS[`${method} /chunks/{id}/blocks/{n}`], sender, rolesOf);
}

async function putOne(
  host: BlockHost,
  request: Request,
  id: string,
  n: string,
  contentLength: number,
): Promise<Response> {
  takingBlock.begins();
  assertSender(host, "PUT", request, id, n);
  return received(contextFrom(request.headers), `PUT ${ROUTE}`, (span) => {
    describe(host, span, id, n, contentLength);
    return takeIn(host, request, id, n, contentLength);
  });
}

async function takeIn(
  host: BlockHost,
  request: Request,
  id: string,
  n: string,
  contentLength: number,
): Promise<Response> {
  const { headers } = request;
  host.assertReady("write");
  const { chunkId, block } = parseAddress(id, n);
  const blockSizeBytes = wholeNumber(headers.get(BlockHeader.blockSize), BlockHeader.blockSize, 1, MAX_BLOCK_BYTES);
  const crcText = headers.get(BlockHeader.crc32) ?? "";
  if (!/^[0-9a-f]{8}$/.test(crcText))
    throw new Refusal("INVALID_HEADER", `${BlockHeader.crc32} is 8 hex digits, not "${crcText.slice(0, 20)}"`);
  const crc32 = Number.parseInt(crcText, 16);
  const sealText = headers.get(BlockHeader.seal);
  if (sealText !== null && (sealText !== "1" || block !== 0))
    throw new Refusal("INVALID_HEADER", `${BlockHeader.seal} is 1, and only on block 0`);
  const route = parseRoute(headers.get(BlockHeader.route));
  if (route.length > MAX_HOPS) throw new Refusal("INVALID_HEADER", `A route has at most ${MAX_HOPS} workers`);
  if (!(contentLength >= 1)) throw new Refusal("INVALID_HEADER", "A block has a content-length of at least 1");
  if (contentLength > blockSizeBytes)
    throw new Refusal(
      "PAYLOAD_TOO_LARGE",
      `The block has ${contentLength} bytes, its chunk's blocks ${blockSizeBytes}`,
    );
  const bytes = new Uint8Array(await request.arrayBuffer());
  try {
    return await takeBlock(
      host,
      { chunkId, block, bytes, crc32, blockSizeBytes, seal: sealText !== null },
      contentLength,
      route,
    );
  } finally {
    // Given back now and not when the collector comes round, the same pages serve the next block.
    bytes.buffer.transfer(0);
  }
}

async function takeBlock(host: BlockHost, toPut: BlockToPut, contentLength: number, route: Hop[]): Promise<Response> {
  const { chunkId, block, bytes, crc32 } = toPut;
  if (bytes.length !== contentLength)
    throw new Refusal("BODY_INCOMPLETE", `${bytes.length} of ${contentLength} bytes of the block arrived`);
  if (Bun.hash.crc32(bytes) !== crc32) {
    host.traffic.checksumMismatches++;
    throw new Refusal(
      "CHECKSUM_MISMATCH",
      `Block ${block} of chunk ${formatChunkId(chunkId)} does not have the checksum ${formatCrc32(crc32)}`,
    );
  }
  if (route.length === 0) {
    await storeBlock(host, toPut);
    return new Response(null, { status: 204 });
  }
  const onward = forward(host.identity, route, toPut);
  const here = await storeBlock(host, toPut).then(
    () => ({ workerId: host.identity.nodeId, stored: true }),
    (error) => {
      if (!(error instanceof Refusal)) host.log.error({ event: "store-failed", err: error }, "a block was not stored");
      return failed(host.identity.nodeId, error);
    },
  );
  const outcomes: BlockOutcomes = [here, ...(await onward)];
  if (outcomes.every(({ stored }) => stored)) return new Response(null, { status: 204 });
  return new Response(encode(outcomes), { status: 207, headers: { "content-type": WIRE_TYPE } });
}

type SmallHost = Pick<BlockHost, "store" | "traffic" | "log">;

/** Small chunks that share a message: each is checked, and has its outcome, for itself. */
export function putSmallChunks(host: SmallHost, chunks: PutSmallChunks["chunks"]) {
  return Promise.all(
    chunks.map((chunk) =>
      received(unpack(chunk.carried), "store small chunk", (span) => putSmallChunk(host, chunk, span)),
    ),
  );
}

async function putSmallChunk(
  host: SmallHost,
  { chunkId, blockSizeBytes, crc32, bytes }: PutSmallChunks["chunks"][number],
  span: Span | null,
): Promise<SmallChunkOutcome> {
  if (host.log.isLevelEnabled("debug"))
    host.log.debug(
      { event: "block", chunk: formatChunkId(chunkId), block: 0, bytes: bytes.length },
      "a small chunk is written",
    );
  span?.set({ "dfs.chunk.id": formatChunkId(chunkId) });
  try {
    if (Bun.hash.crc32(bytes) !== crc32) {
      host.traffic.checksumMismatches++;
      throw new Refusal("CHECKSUM_MISMATCH", `Chunk ${formatChunkId(chunkId)} does not have its checksum`);
    }
    await storeBlock(host, { chunkId, block: 0, bytes, crc32, blockSizeBytes, seal: true });
    return { stored: true };
  } catch (error) {
    if (!(error instanceof Refusal)) host.log.error({ event: "store-failed", err: error }, "a chunk was not stored");
    const { code, message } = failed("", error);
    return { stored: false, code, message };
  }
}

async function storeBlock(
  host: Pick<BlockHost, "store" | "traffic">,
  put: Omit<BlockToPut, "bytes"> & { bytes: Uint8Array },
): Promise<void> {
  const { chunkId, block, bytes, crc32, blockSizeBytes } = put;
  if (put.seal) await host.store.sealWhole({ chunkId, lengthBytes: bytes.length, crc32 }, blockSizeBytes, bytes);
  else await host.store.writeBlock(chunkId, block, blockSizeBytes, bytes, crc32);
  host.traffic.blocksWritten++;
  host.traffic.bytesWritten += bytes.length;
}

/** Sends the block to the first of the route that takes it; those before it are reported as failed, and stepped over. */
async function forward(identity: Identity, route: Hop[], block: BlockToPut): Promise<BlockOutcomes> {
  const outcomes: BlockOutcomes = [];
  for (const [at, next] of route.entries()) {
    const rest = route.slice(at + 1);
    try {
      const reached = await putBlock(identity, next, rest, block, { timeoutMs: HOP_TIMEOUT_MS * (rest.length + 1) });
      return [...outcomes, ...reached];
    } catch (error) {
      outcomes.push(failed(next.id, error));
    }
  }
  return outcomes;
}

const failed = (workerId: string, error: unknown): BlockOutcomes[number] => ({
  workerId,
  stored: false,
  code: error instanceof Refusal ? error.code : "INTERNAL",
  message: String((error as Error).message).slice(0, 500),
});

/** In the span of the request, and in the log for a client's request. */
function describe({ log }: BlockHost, span: Span | null, id: string, block: string, bytes?: number): void {
  log.debug(
    { event: "block", chunk: id, block, bytes },
    bytes === undefined ? "blocks are read" : "a block is written",
  );
  span?.set({ "http.route": ROUTE, "dfs.chunk.id": id, "dfs.block.number": Number(block) });
}

function getSome(
  host: BlockHost,
  request: Request,
  id: string,
  n: string,
  countText: string | undefined,
): Promise<Response> {
  readingBlocks.begins();
  assertSender(host, "GET", request, id, n);
  return received(contextFrom(request.headers), `GET ${ROUTE}`, async (span) => {
    describe(host, span, id, n);
    return read(host, id, n, countText);
  });
}

function read(host: BlockHost, id: string, n: string, countText: string | undefined): Response {
  host.assertReady("read");
  const { chunkId, block } = parseAddress(id, n);
  const count = wholeNumber(countText ?? "1", "count", 1, MAX_BLOCKS_PER_READ, "INVALID_PARAMETER");
  const blocks = host.store.readBlocks(chunkId, block, count);
  host.traffic.blocksRead += blocks.crcs.length;
  host.traffic.bytesRead += blocks.lengthBytes;
  return new Response(blocks.body, {
    headers: {
      "content-type": "application/octet-stream",
      [BlockHeader.blockSize]: String(blocks.blockSizeBytes),
      [BlockHeader.crc32]: Array.from(blocks.crcs, formatCrc32).join(","),
    },
  });
}

function parseAddress(id: string, n: string): { chunkId: number; block: number } {
  const chunkId = parseChunkId(id);
  if (chunkId === null) throw new Refusal("INVALID_PARAMETER", "A chunk id is 16 lower-case hex digits");
  return { chunkId, block: wholeNumber(n, "block number", 0, 2 ** 32 - 1, "INVALID_PARAMETER") };
}

function wholeNumber(
  text: string | null,
  name: string,
  minimum: number,
  maximum: number,
  code: "INVALID_HEADER" | "INVALID_PARAMETER" = "INVALID_HEADER",
): number {
  const value = text !== null && /^\d{1,16}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= minimum && value <= maximum))
    throw new Refusal(
      code,
      `${name} is a whole number from ${minimum} to ${maximum}, not "${String(text).slice(0, 40)}"`,
    );
  return value;
}
