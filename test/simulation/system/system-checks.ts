/**
 * What must hold in a whole cluster at every moment. The checks look at the masters' machines, at what is applied, and at
 * the bytes that really lie on the workers' disks; what trouble took away is told to them, so that they blame the system
 * only for what the system did.
 */
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import type { StoredChunk } from "../../../actors/messages/chunk.ts";
import type { CommandResult } from "../../../actors/messages/commands.ts";
import { encode } from "../../../actors/node/http/wire.ts";
import type { Proposal } from "../../../actors/rules/decide/exactly-once.ts";
import { ChunkStore } from "../../../actors/worker/store/chunk-store.ts";
import { chunkFileName, chunkIdOfFileName, FOOTER_BYTES } from "../../../actors/worker/store/shelves/chunk-file.ts";
import { ChunkFolders } from "../../../actors/worker/store/shelves/chunk-folders.ts";
import { PageCache } from "../../../actors/worker/store/shelves/file-bytes.ts";
import { ChunkIndex } from "../../../databases/chunk-index.ts";
import { MasterLog } from "../../../databases/master-log.ts";
import { SqliteMetadata } from "../../../databases/metadata/sqlite-metadata.ts";
import { RaftChecks, type Seen, Violation } from "../raft-checks.ts";
import { currentProgram, type Program } from "./computer.ts";
import { type Node, type System, sqliteOf } from "./system.ts";

/** A chunk as the newest applied state has it. */
interface CommittedChunk {
  id: number;
  length: number;
  crc32: number;
  target: number;
  workers: string;
}

const newSeen = (): Seen => ({ role: "", term: 0, commit: 0, applied: 0, length: 0 });

/** The life that is being lived; hooks of the shipped classes report to it, see `watchShippedClasses`. */
let watching: SystemChecks | null = null;

export class SystemChecks {
  readonly raft = new RaftChecks();
  readonly system: System;
  /** The index of the first entry with each client's key that was not refused. */
  readonly indexOfKey = new Map<string, number>();
  /** Commands that are in the log more than once, because they were sent again. */
  sentAgain = 0;
  /** Sessions' commands that were carried out: session.number. */
  readonly #answered = new Set<string>();
  /** Of files and directories: what each id is of. */
  readonly #namedBy = new Map<number, string>();
  /** A hash of each applied entry and what it did. */
  readonly #resultAt = new Map<number, number>();
  readonly #seen = new Map<string, { program: Program; seen: Seen }>();
  readonly #hard = new Map<string, { term: number; vote: string | null }>();
  readonly #granted: { first: number; last: number }[] = [];
  /** Workers whose copies trouble took, by chunk. */
  readonly #harmed = new Map<number, Set<string>>();
  /** Workers that are down, with what is in their databases. */
  readonly #inlineWhenClosed = new Map<string, Map<number, number>>();
  readonly #indexes = new Map<Program, ChunkIndex>();
  highestApplied = 0;
  #failure: Violation | null = null;

  constructor(system: System) {
    this.system = system;
    watching = this;
  }

  /** After every event. @throws Violation */
  check(): Node | null {
    if (this.system.violation) throw this.system.violation;
    if (this.#failure) throw this.#failure;
    // Their disks hold and their state is one: they have no reason to.
    const { masterEnded } = this.system;
    if (masterEnded !== null) throw new Violation("ended", `a master ended by itself, ${masterEnded}`);
    let newLeader: Node | null = null;
    for (const { node, engine } of this.system.engines()) {
      const program = node.computer.program as Program;
      let known = this.#seen.get(node.id);
      if (known?.program !== program) {
        known = { program, seen: newSeen() };
        known.seen.length = engine.raft.state.log.baseIndex;
        known.seen.applied = known.seen.commit = engine.raft.state.appliedIndex;
        this.#seen.set(node.id, known);
      }
      if (this.raft.check(node.id, engine.raft, known.seen)) newLeader = node;
    }
    return newLeader;
  }

  /** Inside of hooks there is nobody to catch it. */
  #note(violation: Violation): void {
    this.#failure ??= violation;
  }

  // ── what is applied ──────────────────────────────────────────────────────────────────────────────────────────────

  applied(index: number, proposal: Proposal, result: CommandResult): void {
    const hash = Bun.hash.crc32(encode([proposal, result]));
    const known = this.#resultAt.get(index);
    if (known !== undefined) {
      if (known !== hash)
        this.#note(new Violation("I5", `entry ${index} had another effect than where it was applied first`));
      return;
    }
    this.#resultAt.set(index, hash);
    this.highestApplied = Math.max(this.highestApplied, index);
    if (!result.ok) return;
    const { idempotencyKey: key, sessionId, seq } = proposal;
    const place = sessionId > 0 ? `${sessionId}.${seq}` : null;
    const isAgain = (key !== null && this.indexOfKey.has(key)) || (place !== null && this.#answered.has(place));
    if (place !== null) this.#answered.add(place);
    if (isAgain) {
      // It is answered as it was at first, and does nothing.
      this.sentAgain++;
      return;
    }
    if (key !== null) this.indexOfKey.set(key, index);
    const { command } = proposal;
    if (command.type === "GRANT_CHUNKS") this.#checkGrant(result.value as { firstChunkId: number }, command.count);
    if (command.type === "PUT_FILE" || command.type === "STAGE_CHUNKS") {
      const minReplicas = command.type === "PUT_FILE" ? command.minReplicas : this.system.config.minReplicas;
      for (const chunk of command.chunks) this.#checkCommit(chunk, minReplicas, index);
    }
  }

  /** I13. */
  #checkGrant(value: { firstChunkId: number }, count: number): void {
    const granted = { first: value.firstChunkId, last: value.firstChunkId + count - 1 };
    const twice = this.#granted.find(({ first, last }) => granted.first <= last && first <= granted.last);
    if (twice) this.#note(new Violation("I13", `chunk ids from ${granted.first} were granted twice`));
    this.#granted.push(granted);
  }

  /** I12, I14: enough copies on different workers are on their disks when a chunk becomes part of a file. */
  #checkCommit({ chunkId, lengthBytes, crc32, workerIds }: StoredChunk, minReplicas: number, index: number): void {
    if (new Set(workerIds).size !== workerIds.length)
      this.#note(new Violation("I14", `chunk ${chunkId} is committed twice on one worker: ${workerIds.join()}`));
    const chunk = { id: chunkId, length: lengthBytes, crc32 };
    const good = workerIds.filter((id) => this.isGood(this.system.node(id), chunk)).length;
    if (good + this.#harmedOf(chunk, workerIds) < minReplicas)
      this.#note(
        new Violation(
          "I12",
          `chunk ${chunkId} is committed at ${index} with ${good} good copies on ${workerIds.join()}`,
        ),
      );
  }

  hardState(node: string, hard: { term: number; vote: string | null } | null): void {
    if (!hard) return;
    const before = this.#hard.get(node);
    if (before && hard.term < before.term) this.#note(new Violation("I7", `${node} lowers its term on disk`));
    if (before && hard.term === before.term && before.vote !== null && hard.vote !== before.vote)
      this.#note(new Violation("I7", `${node} changes its vote in term ${hard.term}`));
    this.#hard.set(node, { ...hard });
  }

  // ── what lies on the disks ───────────────────────────────────────────────────────────────────────────────────────

  opened(program: Program, index: ChunkIndex): void {
    this.#indexes.set(program, index);
    this.#inlineWhenClosed.delete(program.computer.id);
  }

  /** Is a whole copy of exactly this on the worker's disk, running or not? */
  isGood(worker: Node, chunk: { id: number; length: number; crc32: number }): boolean {
    const path = new ChunkFolders(worker.directory).file(chunk.id, "sealed");
    if (existsSync(path) && statSync(path).size >= chunk.length + FOOTER_BYTES)
      return Bun.hash.crc32(readFileSync(path).subarray(0, chunk.length)) === chunk.crc32;
    return this.#inlineOf(worker).get(chunk.id) === chunk.crc32;
  }

  /** Of a sealed chunk, in the worker's folder of chunks. */
  fileName = (chunkId: number): string => chunkFileName(chunkId);

  copiesOf(chunk: { id: number; length: number; crc32: number }): Node[] {
    return this.system.of("worker").filter((worker) => this.isGood(worker, chunk));
  }

  /** CRC-32 by chunk of what is sealed in the worker's database. */
  #inlineOf(worker: Node): { get(chunkId: number): number | undefined } {
    const index = this.#openIndexOf(worker);
    if (!index) return this.#whenClosed(worker);
    return { get: (chunkId) => inlineCrc(index, chunkId) };
  }

  #openIndexOf({ computer }: Node): ChunkIndex | undefined {
    return computer.program?.isAlive ? this.#indexes.get(computer.program) : undefined;
  }

  /** Of a worker that is down, whose files are as they will be found. */
  #whenClosed(worker: Node): Map<number, number> {
    let found = this.#inlineWhenClosed.get(worker.id);
    if (found) return found;
    found = new Map();
    if (existsSync(join(worker.directory, "chunk-index.db"))) {
      const index = new ChunkIndex(worker.directory);
      for (const chunkId of sealedIn(index)) {
        const crc32 = inlineCrc(index, chunkId);
        if (crc32 !== undefined) found.set(chunkId, crc32);
      }
      index.close();
    }
    this.#inlineWhenClosed.set(worker.id, found);
    return found;
  }

  /** The chunks, committed or not, of which a worker has a copy. */
  sealedOn(worker: Node): number[] {
    const files = existsSync(join(worker.directory, "chunks"))
      ? readdirSync(join(worker.directory, "chunks"), { recursive: true }).map(String)
      : [];
    const filed = files.flatMap((name) => chunkIdOfFileName(basename(name)) ?? []);
    const index = this.#openIndexOf(worker);
    return [...new Set([...filed, ...(index ? sealedIn(index) : this.#whenClosed(worker).keys())])];
  }

  /** Has trouble taken a copy of this before? */
  isHarmed(chunkId: number): boolean {
    return this.#harmed.has(chunkId);
  }

  /** Trouble takes this copy. */
  harm(chunkId: number, worker: Node): void {
    this.#harmed.set(chunkId, new Set([...(this.#harmed.get(chunkId) ?? []), worker.id]));
  }

  /** Trouble takes the worker's disk, which is down; it gets another one, which is empty. */
  wiped(worker: Node): void {
    for (const chunkId of this.sealedOn(worker)) this.harm(chunkId, worker);
    this.#inlineWhenClosed.set(worker.id, new Map());
  }

  /** How many copies trouble took that have not been made anew in the same place. */
  #harmedOf(chunk: { id: number; length: number; crc32: number }, among?: readonly string[]): number {
    const workers = [...(this.#harmed.get(chunk.id) ?? [])].filter((id) => among?.includes(id) ?? true);
    return workers.filter((id) => !this.isGood(this.system.node(id), chunk)).length;
  }

  /** Those of a worker's good copies of committed chunks that are needed where they are, with how many others there are. */
  bareWithout(workerId: string, chunkIds: readonly number[]): { chunkId: number; others: number }[] {
    const state = this.#newest();
    if (!state || state.index < this.highestApplied) return [];
    return chunkIds.flatMap((chunkId) => {
      const chunk = committedChunk(state.metadata, chunkId);
      if (!chunk || !this.isGood(this.system.node(workerId), chunk)) return [];
      const others = this.copiesOf(chunk).filter(({ id }) => id !== workerId).length;
      const isBare = others === 0 || others + this.#harmedOf(chunk) < chunk.target;
      return isBare ? [{ chunkId, others }] : [];
    });
  }

  gaveUp(workerId: string, chunkId: number, others: number): void {
    this.#note(
      new Violation(
        "I11",
        `${workerId} gives up its good copy of chunk ${chunkId}, of which ${others} others are left`,
      ),
    );
  }

  #newest(): { metadata: SqliteMetadata; index: number } | null {
    const all = this.system.engines().map(({ engine }) => ({ metadata: sqliteOf(engine), index: engine.appliedIndex }));
    return all.sort((a, b) => b.index - a.index)[0] ?? null;
  }

  /** Chunks of files, as the newest state that runs has them; null if none does. */
  committed(): CommittedChunk[] | null {
    const newest = this.#newest();
    return newest && newest.index >= this.highestApplied ? committedChunks(newest.metadata) : null;
  }

  /** I11: nothing that was committed is gone from all disks. */
  checkNothingLost(): void {
    for (const chunk of this.committed() ?? [])
      if (this.copiesOf(chunk).length === 0)
        throw new Violation("I11", `no good copy of chunk ${chunk.id} is left; it should be on ${chunk.workers}`);
  }

  /** I13: whoever has an id keeps it, and nobody else ever gets it. */
  checkIds(): void {
    const newest = this.#newest();
    if (!newest || newest.index < this.highestApplied) return;
    const { metadata } = newest;
    const named = metadata
      .prepare<{ id: number; of: string; next: number }>(
        `SELECT id, size || ' bytes, ' || crc32 AS of, next_node_id AS next FROM entries, totals
         UNION ALL SELECT file_id, 'an upload', next_node_id FROM uploads, totals`,
      )
      .all();
    const now = new Set<number>();
    for (const { id, of, next } of named) {
      const before = this.#namedBy.get(id);
      const isSame = before === undefined || before === of || before === "an upload";
      if (now.has(id) || !isSame || id >= next)
        this.#note(new Violation("I13", `id ${id} is of ${of} now, was of ${before}; the next new one is ${next}`));
      now.add(id);
      this.#namedBy.set(id, of);
    }
  }

  /** I14 in calm: as many copies as wanted, no two in one zone while another zone could take one; and nothing to clear away. */
  placesToMend(alive: readonly Node[]): string[] {
    const newest = this.#newest();
    if (!newest) return [];
    const { metadata } = newest;
    const modes = new Map(
      metadata
        .prepare<{ id: string; mode: string }>("SELECT id, mode FROM workers")
        .all()
        .map(({ id, mode }) => [id, mode]),
    );
    const staying = alive.filter(({ id }) => modes.get(id) !== "draining");
    const taking = alive.filter(({ id }) => modes.get(id) === "active");
    const zones = new Set(taking.map(({ zone }) => zone)).size;
    const found: string[] = [];
    for (const { target, workers, chunk_count } of metadata
      .prepare<{ target: number; workers: string; chunk_count: number }>(
        "SELECT target, workers, chunk_count FROM replica_sets WHERE chunk_count > 0",
      )
      .all()) {
      const isHolder = ({ id }: Node): boolean => workers.split(",").includes(id);
      const holders = taking.filter(isHolder);
      const used = new Set(staying.filter(isHolder).map(({ zone }) => zone)).size;
      if (used < Math.min(target, zones))
        found.push(`${chunk_count} chunks on ${workers} are in ${used} of ${zones} zones`);
      if (holders.length > target) found.push(`${chunk_count} chunks have more than ${target} copies: ${workers}`);
    }
    const garbage = metadata
      .prepare<{ worker_id: string; chunks: number }>(
        "SELECT worker_id, count(*) AS chunks FROM garbage GROUP BY worker_id",
      )
      .all();
    for (const { worker_id: id, chunks } of garbage)
      if (alive.some((worker) => worker.id === id)) found.push(`${chunks} freed chunks still wait on ${id}`);
    return found;
  }

  /** All masters that run hold the same state, row by row. */
  checkSameState(dead: readonly Node[]): void {
    const states = this.system
      .engines()
      .filter(({ node }) => !dead.includes(node))
      .map(({ node, engine }) => ({ node, index: engine.appliedIndex, state: dump(sqliteOf(engine)) }));
    const [first, ...others] = states.sort((a, b) => b.index - a.index);
    for (const other of others)
      if (other.index === first?.index && other.state !== first.state)
        throw new Violation("I5", `${other.node.id} and ${first.node.id} hold different states at ${other.index}`);
  }

  stop(): void {
    if (watching === this) watching = null;
  }
}

function* sealedIn(index: ChunkIndex): Generator<number> {
  for (let after = 0, rows = index.sealedAfter(after, 500); rows.length > 0; rows = index.sealedAfter(after, 500)) {
    for (const { chunkId } of rows) yield chunkId;
    after = rows.at(-1)?.chunkId as number;
  }
}

function inlineCrc(index: ChunkIndex, chunkId: number): number | undefined {
  const row = index.find(chunkId);
  const bytes = row?.state === "sealed" && row.shelf === "inline" ? index.inlineBytes(chunkId) : null;
  return bytes ? Bun.hash.crc32(bytes) : undefined;
}

function dump(metadata: SqliteMetadata): string {
  const tables = metadata
    .prepare<{ name: string }>("SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name")
    .all()
    .map(({ name }) => name);
  return tables.map((name) => JSON.stringify(metadata.prepare(`SELECT * FROM ${name} ORDER BY 1, 2`).all())).join("\n");
}

const CHUNKS = `SELECT chunks.id, length, crc32, target, workers FROM chunks
  JOIN replica_sets ON replica_sets.id = set_id`;
const committedChunk = (metadata: SqliteMetadata, id: number): CommittedChunk | undefined =>
  (metadata.prepare<CommittedChunk>(`${CHUNKS} WHERE chunks.id = ?`).get(id) as CommittedChunk | null) ?? undefined;
const committedChunks = (metadata: SqliteMetadata): CommittedChunk[] =>
  metadata.prepare<CommittedChunk>(`${CHUNKS} ORDER BY chunks.id`).all();

// ── where the shipped classes are watched ──────────────────────────────────────────────────────────────────────────

/**
 * Has the shipped classes of this thread report to the checks of the life under way, from here on. A thread that lives
 * lives calls it once.
 */
export function watchShippedClasses(): void {
  const { apply } = SqliteMetadata.prototype;
  SqliteMetadata.prototype.apply = function (this: SqliteMetadata, entries) {
    const results = apply.call(this, entries);
    for (const [n, { proposal, env }] of entries.entries())
      watching?.applied(env.index, proposal, results[n] as CommandResult);
    return results;
  };

  const { write } = MasterLog.prototype;
  MasterLog.prototype.write = function (this: MasterLog, written) {
    write.call(this, written);
    const program = currentProgram();
    if (program) watching?.hardState(program.computer.id, written.hard);
  };

  const { transaction, beginEpoch } = ChunkIndex.prototype;
  ChunkIndex.prototype.transaction = function (this: ChunkIndex, durable, changed) {
    transaction.call(this, durable, changed);
    if (durable) currentProgram()?.computer.disk.becameDurable(this.path);
  };
  ChunkIndex.prototype.beginEpoch = function (this: ChunkIndex) {
    const program = currentProgram();
    if (program) watching?.opened(program, this);
    return beginEpoch.call(this);
  };

  PageCache.prototype.holds = () => true; // what this machine has cached is not in the seed

  const { trash } = ChunkStore.prototype;
  ChunkStore.prototype.trash = async function (this: ChunkStore, chunkIds, decidedAt) {
    const program = currentProgram();
    const bare = program ? (watching?.bareWithout(program.computer.id, chunkIds) ?? []) : [];
    const done = await trash.call(this, chunkIds, decidedAt);
    for (const { chunkId, others } of bare)
      if (done.trashed.includes(chunkId)) watching?.gaveUp(program?.computer.id as string, chunkId, others);
    return done;
  };
}
