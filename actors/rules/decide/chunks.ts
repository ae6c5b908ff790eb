/** Chunks: granted, stored, shared, freed; and the replica sets that say where they are. */

import type { StoredChunk } from "../../messages/chunk.ts";
import type { CommandOf } from "../../messages/commands.ts";
import { areOfOneGroup } from "../chunk-id.ts";
import { combineCrc32 } from "../crc32.ts";
import { copies, type Scheme } from "../redundancy/scheme.ts";
import { ACCOUNTS_SHARED_SINCE, BURIED_SINCE, GROUPS_BOUNDED_SINCE } from "./cluster-version.ts";
import { dropContents } from "./contents.ts";
import { accepted, type Deciding, type Decision, type Environment, RefusedCommand, read, readOne } from "./decision.ts";
import type { BuriedChunkRow, ChunkRow, EntryRow, FileChunkRow, GrantRow, WorkerRow } from "./rows.ts";
import { asSet, type Write } from "./state.ts";

/** Grants of one moment are placed by the same view of the workers, and refer to the same account of it. */
const ACCOUNT_SHARED_MS = 60_000;
/** Files with more chunks than this leave the namespace at once and are freed in slices afterwards. */
const FREED_AT_ONCE = 16;
/** Chunks that one REAP_DELETED frees. */
const FREED_IN_A_SLICE = 256;

// ── grants ─────────────────────────────────────────────────────────────────────────────────────────────────────────

export function* grantChunks(command: CommandOf<"GRANT_CHUNKS">, env: Environment): Deciding<Decision> {
  const totals = yield* readOne("totals", {});
  const first = totals?.nextChunkId ?? 1;
  const { count, gatewayId, decision, chosen = [] } = command;
  if (env.version >= GROUPS_BOUNDED_SINCE && !areOfOneGroup(first, count))
    throw new RefusedCommand(
      "CHUNK_IDS_USED_UP",
      `${count} ids from ${first} on reach beyond the last id of this group`,
    );
  const grant = { id: first, count, gatewayId, expiresAt: env.logTime + command.leaseMs };
  const result = { grantId: first, firstChunkId: first, count };
  const take: Write = ["takeChunkIds", { count }];
  if (env.version < ACCOUNTS_SHARED_SINCE) return accepted(result, [take, ["putGrant", { ...grant, decision }]]);
  const shared = yield* readOne("sameAccount", { decision, since: env.logTime - ACCOUNT_SHARED_MS });
  const account: Write[] = shared ? [] : [["putAccount", { id: first, madeAt: env.logTime, decision }]];
  return accepted(result, [take, ...account, ["putPlacedGrant", { ...grant, accountId: shared?.id ?? first, chosen }]]);
}

export function* renewGrants(command: CommandOf<"RENEW_GRANTS">, env: Environment): Deciding<Decision> {
  const writes: Write[] = [];
  for (const grantId of command.grantIds) {
    const grant = yield* readOne("grant", { grantId });
    if (grant?.isOpen && grant.expiresAt > env.logTime)
      writes.push(["renewGrant", { grantId, expiresAt: env.logTime + command.leaseMs }]);
  }
  return accepted(null, writes);
}

export function* closeGrants(command: CommandOf<"CLOSE_GRANTS">): Deciding<Decision> {
  const writes: Write[] = [];
  for (const grantId of command.grantIds) {
    const grant = yield* readOne("grant", { grantId });
    if (grant) writes.push(...(yield* endGrant(grant)));
  }
  return accepted(null, writes);
}

/**
 * Is this the chunk of an upload that may still be committed? The log says so, not a clock: until an entry has ended the
 * grant, one that commits the chunk may be on its way.
 */
export function* isGranted(chunkId: number): Deciding<boolean> {
  const grant = yield* readOne("grantOf", { chunkId });
  return grant !== undefined && chunkId < grant.id + grant.count && grant.isOpen;
}

/**
 * A grant outlives its lease only as the record of why its chunks were placed where they are. Its row says "ended" for
 * its ids, and so does no row: ranges of grants are apart, so the grant before it covers none of them.
 */
export function* endGrant(grant: GrantRow): Deciding<Write[]> {
  const range = { first: grant.id, last: grant.id + grant.count - 1 };
  const used = yield* readOne("anyChunkIn", range);
  return [
    [used ? "closeGrant" : "dropGrant", { grantId: grant.id }],
    ["dropFaultsOfUnused", range],
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
  const scheme = copies(rule.replicationFactor);
  const writes: Write[] = [];
  const seen = new Set<number>();
  const workers = new Map<string, WorkerRow | undefined>();
  let { offset } = from;
  let crc32 = 0;
  for (const [n, chunk] of chunks.entries()) {
    const grant = yield* readOne("grantOf", chunk);
    if (!grant || chunk.chunkId >= grant.id + grant.count || !grant.isOpen || grant.expiresAt <= env.logTime)
      throw new RefusedCommand("GRANT_EXPIRED", `The grant of chunk ${chunk.chunkId} has ended`);
    if (seen.has(chunk.chunkId) || (yield* readOne("chunk", chunk)))
      throw new RefusedCommand("CHUNK_ALREADY_COMMITTED", `Chunk ${chunk.chunkId} is committed already`);
    if (chunk.lengthBytes === 0) throw new RefusedCommand("INVALID_BODY", `Chunk ${chunk.chunkId} is empty`);
    const holders = new Set<string>();
    for (const workerId of chunk.workerIds) {
      if (!workers.has(workerId)) workers.set(workerId, yield* readOne("worker", { workerId }));
      const worker = workers.get(workerId);
      if (worker && worker.mode !== "removed" && chunk.chunkId >= worker.lostBelow) holders.add(workerId);
    }
    for (const fault of yield* read("faults", chunk)) holders.delete(fault.workerId);
    if (holders.size < rule.minReplicas) throw tooFewReplicas(chunk.chunkId, holders.size, rule.minReplicas);
    seen.add(chunk.chunkId);
    const { chunkId, lengthBytes } = chunk;
    const set = { scheme, workers: asSet(holders) };
    writes.push(
      ...enterSet(set),
      ["putChunk", { id: chunkId, lengthBytes, crc32: chunk.crc32, ...set }],
      ["putFileChunk", { fileId, offset, index: from.index + n, chunkId }],
    );
    crc32 = combineCrc32(crc32, chunk.crc32, chunk.lengthBytes);
    offset += chunk.lengthBytes;
  }
  return { writes, endOffset: offset, crc32 };
}

export const tooFewReplicas = (chunkId: number, held: number, minReplicas: number): RefusedCommand =>
  new RefusedCommand("TOO_FEW_REPLICAS", `Chunk ${chunkId} is on ${held} known workers; ${minReplicas} needed`);

/** One more chunk on exactly these workers; makes the set if there is none. */
const enterSet = (set: { scheme: Scheme; workers: string[] }): Write[] => [
  ["growSet", set],
  ["addToSet", set],
];

/** Moves a chunk from the set that it is in to another. */
export const changeSet = ({ id, setId, scheme }: ChunkRow, workers: string[]): Write[] => [
  ["shrinkSet", { setId }],
  ...enterSet({ scheme, workers }),
  ["moveChunkToSet", { chunkId: id, scheme, workers }],
];

// ── freeing ────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Takes the contents of files that have just lost their names. */
export function* freeFiles(files: EntryRow[], env: Environment): Deciding<Write[]> {
  if (files.length === 0) return [];
  const writes: Write[] = [];
  const chunks: FileChunkRow[] = [];
  let bytes = 0;
  for (const file of files) {
    bytes += file.sizeBytes;
    if (file.chunkCount > FREED_AT_ONCE || (file.chunkCount > 0 && env.version >= BURIED_SINCE))
      writes.push(["bury", { id: file.id, kind: "file" }]);
    else if (file.chunkCount > 0)
      chunks.push(...(yield* read("fileChunks", { fileId: file.id, limit: FREED_AT_ONCE })));
  }
  writes.push(
    ["addTotals", { files: -files.length, directories: 0, bytes: -bytes }],
    ...freeChunks(chunks, env),
    ...dropContents(files),
  );
  return writes;
}

/** Takes these chunks from their files; those that no file holds any longer become garbage on each of their workers. */
export function freeChunks(rows: FileChunkRow[], env: Environment): Write[] {
  const writes: Write[] = [];
  const released = new Map<number, { chunk: FileChunkRow; times: number }>();
  for (const row of rows) {
    writes.push(["dropFileChunk", row]);
    const entry = released.get(row.id);
    if (entry) entry.times++;
    else released.set(row.id, { chunk: row, times: 1 });
  }
  for (const { chunk, times } of released.values()) {
    if (chunk.refs > times) {
      writes.push(["addRef", { chunkId: chunk.id, delta: -times }]);
      continue;
    }
    const { id: chunkId, setId } = chunk;
    writes.push(
      ["shrinkSet", { setId }],
      ["dropChunk", { chunkId }],
      ["dropFaults", { chunkId }],
      ["dropReasons", { chunkId }],
    );
    for (const workerId of chunk.workers) writes.push(["putGarbage", { workerId, chunkId, freedAt: env.logTime }]);
  }
  return writes;
}

/**
 * Frees the chunks of files that were buried, up to a slice of them. What no file holds any longer goes by lists: one
 * statement for many chunks.
 */
export function* freeBuried(env: Environment): Deciding<Write[]> {
  const all = (yield* read("buriedFiles", { limit: FREED_IN_A_SLICE })).map(({ id }) => id);
  const chunks = yield* read("chunksOfFiles", { fileIds: all, limit: FREED_IN_A_SLICE });
  const isAll = chunks.length < FREED_IN_A_SLICE;
  // The slice may end within a file, which keeps its place for the next one.
  const rest = isAll ? Number.POSITIVE_INFINITY : (chunks.at(-1)?.fileId ?? 0);
  const fileIds = all.filter((id) => id < rest);
  const writes: Write[] = [];
  if (fileIds.length > 0) writes.push(["dropFileChunks", { fileIds }], ["unburyAll", { ids: fileIds }]);
  for (const row of chunks) if (row.fileId === rest) writes.push(["dropFileChunk", row]);
  const gone: BuriedChunkRow[] = [];
  for (const [chunkId, rows] of Map.groupBy(chunks, ({ id }) => id)) {
    const [row] = rows as [BuriedChunkRow];
    if (row.refs > rows.length) writes.push(["addRef", { chunkId, delta: -rows.length }]);
    else gone.push(row);
  }
  if (gone.length > 0) writes.push(...(yield* dropChunks(gone, env)));
  return writes;
}

function* dropChunks(chunks: readonly BuriedChunkRow[], env: Environment): Deciding<Write[]> {
  const all = chunks.map(({ id }) => id);
  const writes: Write[] = [
    ["dropChunks", { chunkIds: all }],
    ["dropFaultsOfChunks", { chunkIds: all }],
    ["dropReasonsOfChunks", { chunkIds: all }],
  ];
  for (const [setId, rows] of Map.groupBy(chunks, ({ setId }) => setId)) {
    const set = yield* readOne("replicaSet", { setId });
    const chunkIds = rows.map(({ id }) => id);
    writes.push(
      ["shrinkSetBy", { setId, count: rows.length }],
      ["putGarbageOf", { workerIds: set?.workers ?? [], chunkIds, freedAt: env.logTime }],
    );
  }
  return writes;
}

export function forgetGarbage({ items }: CommandOf<"FORGET_GARBAGE">, env: Environment): Decision {
  if (env.version < BURIED_SINCE)
    return accepted(
      null,
      items.map((item) => ["dropGarbage", item]),
    );
  const byWorker = Map.groupBy(items, ({ workerId }) => workerId);
  return accepted(
    null,
    [...byWorker].map(
      ([workerId, freed]): Write => ["dropGarbageOf", { workerId, chunkIds: freed.map(({ chunkId }) => chunkId) }],
    ),
  );
}
