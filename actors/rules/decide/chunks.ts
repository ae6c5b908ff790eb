/** Chunks: granted, stored, shared, freed; and the replica sets that say where they are. */
import type { CommandOf } from "../../messages/commands.ts";
import type { StoredChunk } from "../../messages/primitives.ts";
import { combineCrc32 } from "../crc32.ts";
import {
  accepted,
  type ChunkRow,
  type Deciding,
  type Decision,
  type EntryRow,
  type Environment,
  type FileChunkRow,
  joinWorkers,
  RefusedCommand,
  read,
  readOne,
  splitWorkers,
  type WorkerRow,
  type Write,
} from "./state.ts";

/** Files with more chunks than this leave the namespace at once and are freed in slices afterwards. */
const FREED_AT_ONCE = 16;

// ── grants ─────────────────────────────────────────────────────────────────────────────────────────────────────────

export function* grantChunks(command: CommandOf<"GRANT_CHUNKS">, env: Environment): Deciding<Decision> {
  const totals = yield* readOne("totals");
  const first = totals?.next_chunk_id ?? 1;
  return accepted({ grantId: first, firstChunkId: first, count: command.count }, [
    ["takeChunkIds", command.count],
    [
      "putGrant",
      first,
      command.count,
      command.gatewayId,
      env.logTime + command.leaseMs,
      JSON.stringify(command.decision),
    ],
  ]);
}

export function* renewGrants(command: CommandOf<"RENEW_GRANTS">, env: Environment): Deciding<Decision> {
  const writes: Write[] = [];
  for (const grantId of command.grantIds) {
    const grant = yield* readOne("grant", grantId);
    if (grant?.open && grant.expires > env.logTime) writes.push(["renewGrant", env.logTime + command.leaseMs, grantId]);
  }
  return accepted(null, writes);
}

export function* closeGrants(command: CommandOf<"CLOSE_GRANTS">): Deciding<Decision> {
  const writes: Write[] = [];
  for (const grantId of command.grantIds) {
    const grant = yield* readOne("grant", grantId);
    if (grant) writes.push(...(yield* endGrant(grant)));
  }
  return accepted(null, writes);
}

/**
 * Is this the chunk of an upload that may still be committed? The log says so, not a clock: until an entry has ended the
 * grant, one that commits the chunk may be on its way.
 */
export function* isGranted(chunkId: number): Deciding<boolean> {
  const grant = yield* readOne("grantOf", chunkId);
  return grant !== undefined && chunkId < grant.id + grant.count && grant.open === 1;
}

/** A grant outlives its lease only as the record of why its chunks were placed where they are. */
export function* endGrant(grant: { id: number; count: number }): Deciding<Write[]> {
  const last = grant.id + grant.count - 1;
  const used = yield* readOne("anyChunkIn", grant.id, last);
  return [
    used ? ["closeGrant", grant.id] : ["dropGrant", grant.id],
    ["dropFaultsOfUnused", grant.id, last, grant.id, last],
  ];
}

// ── storing ────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * Takes sealed chunks into the metadata, as the next ones of a file.
 *
 * Refuses a chunk whose grant has ended (it may have been collected), that is committed already, or that fewer than
 * `minReplicas` known workers hold. A worker that sealed its copy and has lost it since holds none.
 */
export function* addStoredChunks(
  fileId: number,
  chunks: StoredChunk[],
  from: { offset: number; index: number },
  rule: { replicationFactor: number; minReplicas: number },
  env: Environment,
): Deciding<{ writes: Write[]; endOffset: number; crc32: number }> {
  const writes: Write[] = [];
  const seen = new Set<number>();
  const workers = new Map<string, WorkerRow | undefined>();
  let { offset } = from;
  let crc32 = 0;
  for (const [n, chunk] of chunks.entries()) {
    const grant = yield* readOne("grantOf", chunk.chunkId);
    if (!grant || chunk.chunkId >= grant.id + grant.count || !grant.open || grant.expires <= env.logTime)
      throw new RefusedCommand("GRANT_EXPIRED", `The grant of chunk ${chunk.chunkId} has ended`);
    if (seen.has(chunk.chunkId) || (yield* readOne("chunk", chunk.chunkId)))
      throw new RefusedCommand("CHUNK_ALREADY_COMMITTED", `Chunk ${chunk.chunkId} is committed already`);
    if (chunk.lengthBytes === 0) throw new RefusedCommand("INVALID_BODY", `Chunk ${chunk.chunkId} is empty`);
    const holders = new Set<string>();
    for (const workerId of chunk.workerIds) {
      if (!workers.has(workerId)) workers.set(workerId, yield* readOne("worker", workerId));
      const worker = workers.get(workerId);
      if (worker && worker.mode !== "removed" && chunk.chunkId >= worker.lost_below) holders.add(workerId);
    }
    for (const fault of yield* read("faults", chunk.chunkId)) holders.delete(fault.worker_id);
    if (holders.size < rule.minReplicas) throw tooFewReplicas(chunk.chunkId, holders.size, rule.minReplicas);
    seen.add(chunk.chunkId);
    const joined = joinWorkers(holders);
    writes.push(
      ...enterSet(rule.replicationFactor, joined),
      ["putChunk", chunk.chunkId, chunk.lengthBytes, chunk.crc32, rule.replicationFactor, joined],
      ["putFileChunk", fileId, offset, from.index + n, chunk.chunkId],
    );
    crc32 = combineCrc32(crc32, chunk.crc32, chunk.lengthBytes);
    offset += chunk.lengthBytes;
  }
  return { writes, endOffset: offset, crc32 };
}

export const tooFewReplicas = (chunkId: number, held: number, minReplicas: number): RefusedCommand =>
  new RefusedCommand("TOO_FEW_REPLICAS", `Chunk ${chunkId} is on ${held} known workers; ${minReplicas} needed`);

/** One more chunk on exactly these workers; makes the set if there is none. */
export const enterSet = (target: number, workers: string): Write[] => [
  ["growSet", target, workers, target, workers],
  ["addToSet", target, workers],
];

/** Moves a chunk from the set that it is in to another. */
export const changeSet = (chunk: ChunkRow, workers: string): Write[] => [
  ["shrinkSet", chunk.set_id],
  ...enterSet(chunk.target, workers),
  ["moveChunkToSet", chunk.target, workers, chunk.id],
];

// ── freeing ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Takes the contents of files that have just lost their names. */
export function* freeFiles(files: EntryRow[], env: Environment): Deciding<Write[]> {
  if (files.length === 0) return [];
  const writes: Write[] = [];
  const chunks: FileChunkRow[] = [];
  let bytes = 0;
  for (const file of files) {
    bytes += file.size;
    if (file.chunk_count > FREED_AT_ONCE) writes.push(["bury", file.id, "file"]);
    else if (file.chunk_count > 0) chunks.push(...(yield* read("fileChunks", file.id, FREED_AT_ONCE)));
  }
  writes.push(["addTotals", -files.length, 0, -bytes], ...freeChunks(chunks, env));
  return writes;
}

/** Takes these chunks from their files; those that no file holds any longer become garbage on each of their workers. */
export function freeChunks(rows: FileChunkRow[], env: Environment): Write[] {
  const writes: Write[] = [];
  const released = new Map<number, { chunk: FileChunkRow; times: number }>();
  for (const row of rows) {
    writes.push(["dropFileChunk", row.file_id, row.offset]);
    const entry = released.get(row.id);
    if (entry) entry.times++;
    else released.set(row.id, { chunk: row, times: 1 });
  }
  for (const { chunk, times } of released.values()) {
    if (chunk.refs > times) {
      writes.push(["addRef", -times, chunk.id]);
      continue;
    }
    writes.push(
      ["shrinkSet", chunk.set_id],
      ["dropChunk", chunk.id],
      ["dropFaults", chunk.id],
      ["dropReasons", chunk.id],
    );
    for (const workerId of splitWorkers(chunk.workers)) writes.push(["putGarbage", workerId, chunk.id, env.logTime]);
  }
  return writes;
}

export function forgetGarbage(command: CommandOf<"FORGET_GARBAGE">): Decision {
  return accepted(
    null,
    command.items.map(({ workerId, chunkId }) => ["dropGarbage", workerId, chunkId]),
  );
}
