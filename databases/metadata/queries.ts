/** The questions of `store.ts`, asked of SQLite. */
import type { Statement } from "bun:sqlite";
import type { SealedChunk } from "../../actors/messages/chunk.ts";
import type { EntryInfo, FileInfo } from "../../actors/messages/commands.ts";
import type { PlacementDecision } from "../../actors/messages/primitives.ts";
import type { ListAnswer, LocateAnswer } from "../../actors/messages/questions.ts";
import { ACCOUNTS_SHARED_SINCE } from "../../actors/rules/decide/cluster-version.ts";
import { isTiny } from "../../actors/rules/decide/contents.ts";
import { RefusedCommand } from "../../actors/rules/decide/decision.ts";
import { ACCOUNTS_KEPT_MS } from "../../actors/rules/decide/expiry.ts";
import {
  directoryInfo,
  entryInfo,
  existing,
  fileInfo,
  find,
  isDirectoryKey,
  ROOT,
} from "../../actors/rules/decide/namespace.ts";
import type { EntryRow, FileChunkRow, ReplicaSetRow } from "../../actors/rules/decide/rows.ts";
import { comparePaths, pathProblem } from "../../actors/rules/path.ts";
import { type Columns, ENTRY, entryRow, FILE_CHUNK, SETS, withPieces } from "./statements.ts";
import type { Fault, ListRequest, Queries, StateReader } from "./store.ts";
import { splitWorkers, type Value } from "./write-encoding.ts";

/** A page of names looks at no more rows than this, so that no question holds up the others. */
const MAX_LIST_STEPS = 20_000;
/** Comes behind every name in a directory. */
const LAST_NAME = "\u{10FFFF}";

interface Preparing {
  prepare<Row>(sql: string): Statement<Row, Value[]>;
}

export class SqliteQueries implements Queries {
  readonly #metadata: StateReader;
  readonly #childrenFrom;
  readonly #chunksFrom;
  readonly #content;
  readonly #chunksByIndex;
  readonly #setsOf;
  readonly #setsFrom;
  readonly #chunksOfSet;
  readonly #inventory;
  readonly #grantDecision;
  readonly #faults;
  readonly #reasons;
  readonly #garbageOf;
  readonly #garbageCount;
  readonly #garbageCountOf;
  readonly #workersWithGarbage;
  readonly #expiringCount;

  constructor(metadata: StateReader & Preparing) {
    this.#metadata = metadata;
    this.#childrenFrom = metadata.prepare<Columns>(`${ENTRY} WHERE parent = +? AND key >= +? ORDER BY key LIMIT +?`);
    this.#chunksFrom = metadata.prepare<Columns>(
      `${FILE_CHUNK} WHERE f.file_id = +? AND f.offset >= coalesce(
         (SELECT max(offset) FROM file_chunks WHERE file_id = +? AND offset <= +?), 0) ORDER BY f.offset LIMIT +?`,
    );
    this.#content = metadata.prepare<{ bytes: Uint8Array }>("SELECT bytes FROM contents WHERE file_id = ?");
    this.#chunksByIndex = metadata.prepare<Columns>(
      `${FILE_CHUNK} WHERE f.file_id = +? AND f.idx >= +? ORDER BY f.offset LIMIT +?`,
    );
    this.#setsOf = metadata.prepare<Columns>(`${SETS} WHERE id IN (SELECT value FROM json_each(+?)) ORDER BY id`);
    this.#setsFrom = metadata.prepare<Columns>(`${SETS} WHERE id > +? ORDER BY id LIMIT +?`);
    this.#chunksOfSet = metadata.prepare<SealedChunk>(
      "SELECT id AS chunkId, length AS lengthBytes, crc32 FROM chunks WHERE set_id = +? AND id > +? ORDER BY id LIMIT +?",
    );
    this.#inventory = metadata.prepare<SealedChunk>(
      `SELECT id AS chunkId, crc32, length AS lengthBytes FROM chunks
       WHERE set_id IN (SELECT value FROM json_each(+?)) AND id BETWEEN +? AND +? ORDER BY id`,
    );
    this.#grantDecision = metadata.prepare<{ id: number; count: number; chosen: string; decision: string | null }>(
      `SELECT g.id, g.count, g.chosen, CASE WHEN g.account_id IS NULL THEN g.decision ELSE a.decision END AS decision
       FROM (SELECT * FROM grants WHERE id <= +? ORDER BY id DESC LIMIT 1) g LEFT JOIN accounts a ON a.id = g.account_id`,
    );
    this.#faults = metadata.prepare<Fault>(
      "SELECT worker_id AS workerId, state FROM replica_faults WHERE chunk_id = +? ORDER BY worker_id",
    );
    this.#reasons = metadata.prepare<{ workerId: string; reason: string }>(
      "SELECT worker_id AS workerId, reason FROM replica_reasons WHERE chunk_id = +? ORDER BY worker_id",
    );
    this.#garbageOf = metadata.prepare<{ chunkId: number }>(
      "SELECT chunk_id AS chunkId FROM garbage WHERE worker_id = +? AND freed_at <= +? ORDER BY chunk_id LIMIT +?",
    );
    this.#garbageCount = metadata.prepare<{ n: number }>("SELECT count(*) AS n FROM garbage");
    this.#garbageCountOf = metadata.prepare<{ n: number }>("SELECT count(*) AS n FROM garbage WHERE worker_id = ?");
    this.#workersWithGarbage = metadata.prepare<{ id: string }>(
      `WITH RECURSIVE w(id) AS (SELECT min(worker_id) FROM garbage UNION ALL
         SELECT (SELECT min(worker_id) FROM garbage WHERE worker_id > w.id) FROM w WHERE w.id IS NOT NULL)
       SELECT id FROM w WHERE id IS NOT NULL`,
    );
    this.#expiringCount = metadata.prepare<{ n: number }>(
      `SELECT (SELECT count(*) FROM grants WHERE open = 1 AND expires <= ?) +
              (SELECT count(*) FROM uploads WHERE expires <= ?) +
              (SELECT count(*) FROM keyed_outcomes WHERE expires <= ?) +
              (SELECT count(*) FROM sessions WHERE last_active < ?) +
              (SELECT version >= ${ACCOUNTS_SHARED_SINCE} FROM applied) * (
                EXISTS (SELECT 1 FROM grants WHERE open = 0 AND expires <= +?) +
                EXISTS (SELECT 1 FROM accounts WHERE id = (SELECT min(id) FROM accounts) AND made <= +?)) AS n`,
    );
  }

  stat(path: string): EntryInfo | null {
    const row = this.#entry(path);
    return row ? entryInfo(path, row) : null;
  }

  #entry(path: string): EntryRow | undefined {
    try {
      return existing(this.#metadata.ask(find(path)));
    } catch (error) {
      if (error instanceof RefusedCommand && error.code === "NOT_A_DIRECTORY") return undefined;
      throw error;
    }
  }

  locate(path: string, offset: number, limit: number): Pick<LocateAnswer, "entry" | "chunks" | "content"> {
    const row = this.#entry(path);
    if (!row) return { entry: null, chunks: [] };
    if (!isDirectoryKey(row.key) && isTiny(row))
      return { entry: entryInfo(path, row), chunks: [], content: this.#content.get(row.id)?.bytes };
    const chunks: FileChunkRow[] = isDirectoryKey(row.key)
      ? []
      : this.#chunksFrom.all(row.id, row.id, offset, limit).map(withPieces<FileChunkRow>);
    return {
      entry: entryInfo(path, row),
      chunks: chunks.map((chunk) => ({
        chunkId: chunk.id,
        index: chunk.index,
        offset: chunk.offset,
        lengthBytes: chunk.lengthBytes,
        crc32: chunk.crc32,
        workerIds: chunk.workers,
      })),
    };
  }

  fileChunks(path: string, fromIndex: number, limit: number): { file: FileInfo; chunks: FileChunkRow[] } | null {
    const row = this.#entry(path);
    if (!row || isDirectoryKey(row.key)) return null;
    return {
      file: fileInfo(path, row),
      chunks: this.#chunksByIndex.all(row.id, fromIndex, limit).map(withPieces<FileChunkRow>),
    };
  }

  placementOf(chunkId: number): PlacementDecision | null {
    const row = this.#grantDecision.get(chunkId);
    if (!row?.decision || chunkId >= row.id + row.count) return null;
    const decision: PlacementDecision = JSON.parse(row.decision);
    return row.chosen === "" ? decision : { ...decision, chosen: splitWorkers(row.chosen) };
  }

  faultsOf(chunkId: number): Fault[] {
    return this.#faults.all(chunkId);
  }

  reasonsOf(chunkId: number): Map<string, string> {
    return new Map(this.#reasons.all(chunkId).map((row) => [row.workerId, row.reason]));
  }

  replicaSets(): ReplicaSetRow[] {
    return this.#metadata.rows("replicaSets", {});
  }

  replicaSetsOf(setIds: Iterable<number>): ReplicaSetRow[] {
    return this.#setsOf.all(JSON.stringify([...setIds])).map(withPieces<ReplicaSetRow>);
  }

  replicaSetsFrom(afterId: number, limit: number): ReplicaSetRow[] {
    return this.#setsFrom.all(afterId, limit).map(withPieces<ReplicaSetRow>);
  }

  chunksOfSet(setId: number, afterId: number, limit: number): SealedChunk[] {
    return this.#chunksOfSet.all(setId, afterId, limit);
  }

  inventory(setIds: readonly number[], fromId: number, toId: number): SealedChunk[] {
    return setIds.length === 0 ? [] : this.#inventory.all(JSON.stringify(setIds), fromId, toId);
  }

  garbageOf(workerId: string, freedBefore: number, limit: number): number[] {
    return this.#garbageOf.all(workerId, freedBefore, limit).map((row) => row.chunkId);
  }

  garbageCountOf(workerId: string): number {
    return this.#garbageCountOf.get(workerId)?.n ?? 0;
  }

  workersWithGarbage(): string[] {
    return this.#workersWithGarbage.all().map(({ id }) => id);
  }

  garbageCount(): number {
    return this.#garbageCount.get()?.n ?? 0;
  }

  expiredCount(logTime: number, sessionIdleMs: number): number {
    const idleBefore = logTime - sessionIdleMs;
    const agedBefore = logTime - ACCOUNTS_KEPT_MS;
    return this.#expiringCount.get(logTime, logTime, logTime, idleBefore, agedBefore, agedBefore)?.n ?? 0;
  }

  /**
   * Keys of directories end in `/`, so walking the tree depth first in key order is walking all paths in order.
   */
  list({ prefix, delimiter, after, limit }: ListRequest): Omit<ListAnswer, "index"> {
    const slash = prefix.lastIndexOf("/") + 1;
    const base = prefix.slice(0, slash);
    const namePrefix = prefix.slice(slash);
    const root = base === "" ? ROOT : this.#directoryId(base.slice(0, -1));
    if (root === null) return { entries: [], next: null };
    const entries: EntryInfo[] = [];
    let steps = 0;
    let last = "";
    const walk = (parent: number, path: string, from: string): boolean => {
      // `from`: only keys whose path comes behind it, relative to `path`; a directory on the way to it is entered.
      let key = from;
      for (;;) {
        const rows = this.#childrenFrom.all(parent, key, 257).map(entryRow);
        for (const row of rows.slice(0, 256)) {
          const whole = path + row.key;
          if (path === base && !row.key.startsWith(namePrefix)) return true;
          if (entries.length >= limit || ++steps > MAX_LIST_STEPS) return false;
          const isDirectory = isDirectoryKey(row.key);
          const isBehind = comparePaths(whole, after) > 0;
          if (!isDirectory || delimiter) {
            if (isBehind) entries.push(isDirectory ? directoryInfo(whole, row) : fileInfo(whole, row));
            last = whole;
          } else if (isBehind || after.startsWith(whole)) {
            const inside = after.startsWith(whole) ? after.slice(whole.length) : "";
            if (!walk(row.id, whole, inside.slice(0, inside.indexOf("/") + 1) || inside)) return false;
            if (!last.startsWith(whole)) last = whole + LAST_NAME;
          }
        }
        if (rows.length < 257) return true;
        key = (rows[256] as EntryRow).key;
      }
    };
    const relative = after.startsWith(base) ? after.slice(base.length) : "";
    const start = relative.includes("/") && !delimiter ? relative.slice(0, relative.indexOf("/") + 1) : relative;
    const finished = walk(root, base, comparePaths(start, namePrefix) > 0 ? start : namePrefix);
    return { entries, next: finished ? null : last };
  }

  #directoryId(path: string): number | null {
    if (pathProblem(path) !== null) return null;
    const row = this.#entry(path);
    return row && isDirectoryKey(row.key) ? row.id : null;
  }
}
