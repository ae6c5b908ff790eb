/** Workers for tests: real servers and real files, in a folder that goes away. */

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Config } from "../../actors/messages/config.ts";
import type { WorkerMailbox } from "../../actors/messages/worker.ts";
import { loadConfig } from "../../actors/node/config.ts";
import { putBlock } from "../../actors/node/http/block-requests.ts";
import type { Identity } from "../../actors/node/identity/identity.ts";
import { sharedSecret } from "../../actors/node/identity/signature.ts";
import { createLogger } from "../../actors/node/log.ts";
import type { AnswerOf, MessageOf } from "../../actors/node/messaging/mailbox.ts";
import { send } from "../../actors/node/messaging/outbox.ts";
import { crc32OfBlocks } from "../../actors/rules/crc32.ts";
import { startWorker, type WorkerNode, type WorkerOptions } from "../../actors/worker/host.ts";
import { until as untilFair } from "../support/fair-time.ts";
import { freePorts } from "../support/free-ports.ts";

export const SECRET = "5ec2e7".padEnd(64, "0");
export const silent = createLogger("test", "silent" as "debug");
export const tester: Identity = {
  nodeId: "tester",
  credentials: sharedSecret("tester", SECRET),
  clusterId: () => null,
};
/** The only master of `testConfig`: orders come from masters. */
const leader: Identity = { ...tester, nodeId: "master-1", credentials: sharedSecret("master-1", SECRET) };
const ORDERS: readonly string[] = ["COPY_CHUNK", "TRASH_CHUNKS", "VERIFY_CHUNK"];
export const BLOCK = 4096;

export function temporaryFolder(): { path: string } & Disposable {
  const path = mkdtempSync(join(tmpdir(), "dfs-worker-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

export const freeUrl = (): string => `http://127.0.0.1:${freePorts(1)[0]}`;

export function testConfig(changes: Partial<Config> = {}): Config {
  return {
    ...loadConfig(),
    masters: [{ id: "master-1", url: "http://127.0.0.1:17199" }],
    blockSizeBytes: BLOCK,
    inlineChunkBytes: 1024,
    heartbeatMs: 20,
    suspectAfterMs: 200,
    limits: { ...loadConfig().limits, reservedBytes: 0 },
    ...changes,
  };
}

export const startTestWorker = (directory: string, changes: Partial<WorkerOptions> = {}): Promise<WorkerNode> =>
  startWorker({
    id: "worker-1",
    url: freeUrl(),
    zone: "zone-a",
    directory,
    secret: SECRET,
    config: testConfig(),
    log: silent,
    ...changes,
  });

export const tell = <T extends keyof typeof WorkerMailbox & string>(
  url: string,
  message: MessageOf<typeof WorkerMailbox, T> & { type: T },
): Promise<AnswerOf<typeof WorkerMailbox, T>> =>
  send<typeof WorkerMailbox, T>(ORDERS.includes(message.type) ? leader : tester, url, message);

export function randomBytes(length: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 65_536) crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  return bytes;
}

export const crc32Of = (bytes: Uint8Array): number => Bun.hash.crc32(bytes);

export function blocksOf(content: Uint8Array<ArrayBuffer>, blockSizeBytes = BLOCK): Uint8Array<ArrayBuffer>[] {
  const blocks: Uint8Array<ArrayBuffer>[] = [];
  for (let at = 0; at < content.length; at += blockSizeBytes) blocks.push(content.slice(at, at + blockSizeBytes));
  return blocks;
}

/** Sends all blocks of a chunk. */
export async function writeChunk(worker: { url: string }, chunkId: number, content: Uint8Array<ArrayBuffer>) {
  for (const [block, bytes] of blocksOf(content).entries())
    await putBlock(
      tester,
      { id: "worker-1", url: worker.url },
      [],
      { chunkId, block, bytes, crc32: crc32Of(bytes), blockSizeBytes: BLOCK },
      { timeoutMs: 5000 },
    );
}

/** Writes a chunk and seals it. */
export async function storeChunk(worker: { url: string }, chunkId: number, content: Uint8Array<ArrayBuffer>) {
  await writeChunk(worker, chunkId, content);
  const crc32 = crc32OfBlocks(blocksOf(content).map(crc32Of), content.length, BLOCK);
  await tell(worker.url, { type: "SEAL_CHUNK", chunkId, lengthBytes: content.length, blockSizeBytes: BLOCK, crc32 });
  return { chunkId, lengthBytes: content.length, crc32 };
}

/** Waits for what other parties bring about. */
export async function until(claim: () => boolean): Promise<void> {
  await untilFair(String(claim), claim, { pollMs: 5 });
}
