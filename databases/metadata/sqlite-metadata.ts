/**
 * `dfs_metadata.db`, the state that the log has built so far. Applying an entry steps `decide` through its reads, runs
 * its writes, and moves `applied` along in the same transaction, so a crash leaves whole entries or none.
 */
import type { Database, Statement } from "bun:sqlite";
import type { CommandResult } from "../../actors/messages/commands.ts";
import { groupOf, lastIdOf } from "../../actors/rules/chunk-id.ts";
import { HASHED_SINCE, type StateMark } from "../../actors/rules/decide/cluster-version.ts";
import type { Deciding } from "../../actors/rules/decide/decision.ts";
import { RULES, type Rules } from "../../actors/rules/decide/exactly-once.ts";
import type { Read, Reads, Write } from "../../actors/rules/decide/state.ts";
import { DatabaseRefused, damageOf, openDatabase } from "../sqlite.ts";
import { CHANGES_ONE_ROW, entriesFollow } from "./invariants.ts";
import { SqliteQueries } from "./queries.ts";
import { RememberedRows } from "./remembered-rows.ts";
import { METADATA_SCHEMA, METADATA_SCHEMA_VERSION, METADATA_UPGRADES } from "./schema.ts";
import { READS, type ReadStatement, SET_OF, WRITES } from "./statements.ts";
import type { Applied, AppliedEntry, MetadataStore } from "./store.ts";
import { SetsOfTransaction, type TouchedSets } from "./touched-sets.ts";
import { bytesOf, type Value, valuesOf } from "./write-encoding.ts";

/** Anything that can be bound: the statements' own types are in `rules/decide/state.ts`. */
type Params = (Value | Uint8Array)[];

/** Entries that share a transaction. */
const COMMITTED_TOGETHER = 256;

/** Answers one kind of read. */
type Reader = (where: unknown) => unknown[];

export class SqliteMetadata implements MetadataStore {
  readonly #path: string;
  readonly #db: Database;
  readonly #reads: Record<keyof Reads, Reader>;
  readonly #writes: Record<keyof typeof WRITES, Statement<unknown, Params>>;
  readonly #setApplied: Statement<unknown, Params>;
  readonly #setOf: Statement<{ id: number }, Params>;
  readonly #remembered = new RememberedRows();
  readonly #touched = new SetsOfTransaction();
  readonly #rules: Rules;
  readonly queries: SqliteQueries;
  onSetsTouched: (touched: TouchedSets) => void = () => {};
  /** The last entry that was applied. */
  #place: Pick<Applied, "index" | "term">;
  /** What is known to be on disk. */
  #durable: Applied;
  #version: number;
  #stateHash: number;
  #mark: StateMark;
  /** Entries of the transaction under way. */
  #uncommitted = 0;

  /**
   * @param cacheBytes memory for its pages, taken only as they are read; left out: `sqlite.ts`'s own
   * @throws DatabaseRefused if a newer program has gone on with it
   */
  constructor(path: string, rules: Rules = RULES, cacheBytes?: number) {
    this.#path = path;
    this.#rules = rules;
    this.#db = openDatabase({
      path,
      schema: METADATA_SCHEMA,
      schemaVersion: METADATA_SCHEMA_VERSION,
      upgrades: METADATA_UPGRADES,
      synchronous: "NORMAL",
      isShared: true,
      checkpointPages: 4000,
      cacheBytes,
    });
    this.#reads = mapValues(READS, (statement) => this.#reader(statement as ReadStatement<never>));
    this.#writes = mapValues(WRITES, (sql) => this.prepare(sql));
    this.#setOf = this.prepare(SET_OF);
    this.queries = new SqliteQueries(this);
    this.#setApplied = this.#db.prepare(
      "UPDATE applied SET idx = ?, term = ?, log_time = ?, wall_time = ?, state_hash = ?",
    );
    const applied = this.applied();
    const { index, term, version, stateHash } = applied;
    this.#durable = { ...applied, index: 0, term: 0 };
    this.#place = { index, term };
    this.#version = version;
    this.#stateHash = stateHash;
    this.#mark = this.#storedMark();
    if (version > rules.version) {
      this.#db.close();
      throw new DatabaseRefused(
        `${path} is of a cluster of version ${version}; this program knows up to ${rules.version}. Use a newer program.`,
      );
    }
  }

  applied(): Applied {
    return this.#db
      .query(
        'SELECT idx AS "index", term, log_time AS logTime, wall_time AS wallTime, version, state_hash AS stateHash FROM applied',
      )
      .get() as Applied;
  }

  get version(): number {
    return this.#version;
  }

  get mark(): StateMark {
    return this.#mark;
  }

  #storedMark(): StateMark {
    return this.#db.query('SELECT mark_index AS "index", mark_hash AS hash FROM applied').get() as StateMark;
  }

  /**
   * Many calls share a transaction, and so write the pages that they share once. Nothing is lost by that: until
   * `makeDurable` the log brings all of it back.
   */
  apply(entries: readonly AppliedEntry[]): CommandResult[] {
    if (!this.#db.inTransaction) this.#db.exec("BEGIN IMMEDIATE");
    try {
      const results = this.#inSavepoint(() => this.#applyAll(entries));
      this.#uncommitted += entries.length;
      if (this.#uncommitted >= COMMITTED_TOGETHER) this.commit();
      return results;
    } catch (cause) {
      // Rows that were read meanwhile may hold what was undone.
      this.#remembered.forget();
      this.#touched.take();
      throw cause;
    }
  }

  #applyAll(entries: readonly AppliedEntry[]): CommandResult[] {
    let { index, term } = this.#place;
    let version = this.#version;
    let stateHash = this.#stateHash;
    const results = entries.map(({ proposal, env }) => {
      entriesFollow.check(env.index === index + 1 && env.term >= term, { index, term, next: env });
      ({ index, term } = env);
      const decision = this.ask(this.#rules.decide(proposal, { ...env, version, stateHash }));
      const written: FoldedWrite[] = [];
      for (const write of decision.writes) {
        written.push([write[0], ...this.#write(write)]);
        if (write[0] === "setVersion") version = write[1].version;
      }
      if (version >= HASHED_SINCE) stateHash = fold(stateHash, env.index, decision.result, written);
      return decision.result;
    });
    const last = entries.at(-1)?.env;
    if (last) this.#setApplied.run(last.index, last.term, last.logTime, last.wallTime, stateHash);
    this.#place = { index, term };
    this.#version = version;
    this.#stateHash = stateHash;
    if (entries.some(({ proposal }) => proposal.command.type === "CHECK_STATE")) this.#mark = this.#storedMark();
    const touched = this.#touched.take();
    if (touched.size > 0) this.onSetsTouched(touched);
    return results;
  }

  /** `work` is done whole, or undone. */
  #inSavepoint<T>(work: () => T): T {
    this.#db.exec("SAVEPOINT batch");
    try {
      const result = work();
      this.#db.exec("RELEASE batch");
      return result;
    } catch (cause) {
      // A full disk ends the whole transaction: there is no savepoint left to go back to, and the master stops.
      if (this.#db.inTransaction) this.#db.exec("ROLLBACK TO batch; RELEASE batch");
      throw cause;
    }
  }

  commit(): void {
    this.#uncommitted = 0;
    if (this.#db.inTransaction) this.#db.exec("COMMIT");
  }

  #reader({ sql, bind, row }: ReadStatement<never>): Reader {
    const statement = this.prepare(sql);
    return row === undefined
      ? (where) => statement.all(...bind(where as never))
      : (where) => statement.all(...bind(where as never)).map(row);
  }

  #read(read: Read): unknown[] {
    return this.#remembered.rowsOf(read, () => this.#reads[read[0]](read[1]));
  }

  /** @returns the values that it wrote */
  #write(write: Write): Value[] {
    const [name] = write;
    const values = valuesOf(write);
    const statement = this.#writes[name];
    const bytes = bytesOf(write);
    const { changes } = bytes ? statement.run(...values, bytes) : statement.run(...values);
    CHANGES_ONE_ROW[name]?.check(changes === 1, { name, values });
    this.#remembered.written(write);
    this.#touched.written(write, () => this.#setOf.get(...values)?.id ?? null);
    return values;
  }

  rows<K extends keyof Reads>(name: K, where: Reads[K][0]): Reads[K][1][] {
    return this.#read([name, where] as unknown as Read) as Reads[K][1][];
  }

  row<K extends keyof Reads>(name: K, where: Reads[K][0]): Reads[K][1] | undefined {
    return this.rows(name, where)[0];
  }

  ask<T>(question: Deciding<T>): T {
    let step = question.next();
    while (!step.done) step = question.next(this.#read(step.value));
    return step.value;
  }

  /** A statement of one of the query files beside this one. */
  prepare<Row = unknown>(sql: string): Statement<Row, Params> {
    return this.#db.prepare<Row, Params>(sql);
  }

  makeDurable(): Applied {
    this.commit();
    const { busy } = this.#db.query("PRAGMA wal_checkpoint(TRUNCATE)").get() as { busy: number };
    // While a copy is being read, what was applied since it began may not be on disk yet.
    if (busy === 0) this.#durable = this.applied();
    return this.#durable;
  }

  async copyTo(path: string): Promise<{ index: number; term: number }> {
    this.commit();
    const worker = new Worker(new URL("./copy-database.ts", import.meta.url).href);
    try {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      worker.onmessage = ({ data }) => (data.ok ? resolve() : reject(new Error(data.message)));
      worker.onerror = ({ message }) => reject(new Error(message));
      worker.postMessage({ from: this.#path, to: path });
      await promise;
    } finally {
      worker.terminate();
    }
    const copy = new SqliteMetadata(path);
    const { index, term } = copy.applied();
    copy.close();
    return { index, term };
  }

  beginHistory({ index, term, skippedChunkIds }: { index: number; term: number; skippedChunkIds: number }): void {
    this.commit();
    this.#db
      .transaction(() => {
        this.#db.query("UPDATE applied SET idx = ?, term = ?").run(index, term);
        const { nextChunkId = 1 } = this.row("totals", {}) ?? {};
        const end = lastIdOf(groupOf(nextChunkId - 1)) + 1;
        this.#db.query("UPDATE totals SET next_chunk_id = ?").run(Math.min(nextChunkId + skippedChunkIds, end));
        this.#db.exec("DELETE FROM sessions; DELETE FROM outcomes");
        this.#remembered.forget();
      })
      .immediate();
    this.#place = { index, term };
    this.onSetsTouched("all");
    this.makeDurable();
  }

  damage(): string | null {
    return damageOf(this.#db);
  }

  close(): void {
    try {
      this.commit();
    } finally {
      this.#db.close();
    }
  }
}

type FoldedWrite = [name: string, ...values: Value[]];

/** Writes are names and values: the same on every machine. A result that can be asked for again is among them. */
const fold = (hash: number, index: number, result: CommandResult, writes: FoldedWrite[]): number =>
  Bun.hash.crc32(JSON.stringify([index, result.ok || result.code, writes]), hash);

const mapValues = <K extends string, A, B>(table: Record<K, A>, map: (value: A) => B): Record<K, B> =>
  Object.fromEntries(Object.entries<A>(table).map(([key, value]) => [key, map(value)])) as Record<K, B>;
