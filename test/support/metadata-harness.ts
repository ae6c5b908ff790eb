/** Runs commands against real SQLite in memory, as the log would, with a clock that the test turns. */
import type { Command, CommandResult } from "../../actors/messages/commands.ts";
import type { StoredChunk } from "../../actors/messages/primitives.ts";
import type { EntryEnvironment } from "../../actors/rules/decide/decision.ts";
import { RULES } from "../../actors/rules/decide/exactly-once.ts";
import { SqliteMetadata } from "../../databases/metadata/sqlite-metadata.ts";
import type { Queries } from "../../databases/metadata/store.ts";

export class MetadataHarness {
  readonly metadata: SqliteMetadata;
  readonly queries: Queries;
  logTime = 0;
  #index = 0;

  /** @param rules another make of the program, with a mistake planted in it */
  constructor(workers = ["w1", "w2", "w3", "w4", "w5"], rules = RULES) {
    this.metadata = new SqliteMetadata(":memory:", rules);
    this.queries = this.metadata.queries;
    for (const workerId of workers)
      this.accept({
        type: "REGISTER_WORKER",
        workerId,
        url: `http://127.0.0.1:1${workerId.slice(1)}`,
        zone: workerId,
        incarnation: "first-disk",
        capacityBytes: 1e12,
      });
  }

  run(command: Command, session = { sessionId: 0, seq: 0, lowestUnacked: 0 }, idempotencyKey: string | null = null) {
    const env: EntryEnvironment = {
      index: ++this.#index,
      term: 1,
      logTime: this.logTime,
      wallTime: 1e12 + this.#index,
    };
    const [result] = this.metadata.apply([{ proposal: { command, ...session, idempotencyKey }, env }]);
    return result as CommandResult;
  }

  accept<T = unknown>(command: Command): T {
    const result = this.run(command);
    if (!result.ok) throw new Error(`${command.type} was refused: ${result.code} ${result.message}`);
    return result.value as T;
  }

  /** @returns the code of the refusal */
  refusal(command: Command): string {
    const result = this.run(command);
    if (result.ok) throw new Error(`${command.type} was accepted`);
    return result.code;
  }

  /** Ids with a lease of a minute. */
  grant(count = 1): number {
    return this.accept<{ firstChunkId: number }>({
      type: "GRANT_CHUNKS",
      gatewayId: "g1",
      count,
      leaseMs: 60_000,
      decision: { atLogTime: 0, rule: "test", candidates: [] },
    }).firstChunkId;
  }

  chunk(workerIds = ["w1", "w2", "w3"], lengthBytes = 10): StoredChunk {
    return { chunkId: this.grant(), lengthBytes, crc32: 7, workerIds };
  }

  put(
    path: string,
    chunks: StoredChunk[] = [this.chunk()],
    more: Partial<Extract<Command, { type: "PUT_FILE" }>> = {},
  ): Command {
    return {
      type: "PUT_FILE",
      path,
      chunks,
      sizeBytes: chunks.reduce((sum, { lengthBytes }) => sum + lengthBytes, 0),
      crc32: 7,
      replicationFactor: 3,
      minReplicas: 2,
      condition: {},
      contentType: "text/plain",
      sha256: null,
      userMetadata: {},
      ...more,
    };
  }

  /** All paths, by pages of `limit`. */
  paths({ prefix = "", delimiter = false, limit = 1000 } = {}): string[] {
    const paths: string[] = [];
    for (let after = "", pages = 0; pages < 10_000; pages++) {
      const page = this.queries.list({ prefix, delimiter, after, limit });
      paths.push(...page.entries.map(({ path }) => path));
      if (page.next === null) return paths;
      after = page.next;
    }
    throw new Error("the listing does not end");
  }

  reapAll(): void {
    while (this.accept<{ more: boolean }>({ type: "REAP_DELETED" }).more);
  }

  count(table: string): number {
    return (this.metadata.prepare<{ n: number }>(`SELECT count(*) AS n FROM ${table}`).get() as { n: number }).n;
  }

  /** What must hold after every command, in words if it does not. */
  violations(): string[] {
    const ask = (sql: string) => this.metadata.prepare<Record<string, unknown>>(sql).all();
    const wrong: [claim: string, counterexamples: unknown[]][] = [
      [
        "a set counts its chunks",
        ask(`SELECT s.id, s.chunk_count, count(c.id) AS real FROM replica_sets s LEFT JOIN chunks c ON c.set_id = s.id
             GROUP BY s.id HAVING s.chunk_count <> count(c.id)`),
      ],
      ["a chunk is in a set", ask("SELECT id FROM chunks WHERE set_id NOT IN (SELECT id FROM replica_sets)")],
      [
        "a chunk counts the files that share it",
        ask(`SELECT c.id, c.refs, count(f.chunk_id) AS real FROM chunks c LEFT JOIN file_chunks f ON f.chunk_id = c.id
             GROUP BY c.id HAVING c.refs <> count(f.chunk_id)`),
      ],
      [
        "no chunk is both used and garbage everywhere it lives",
        ask(
          `SELECT g.chunk_id FROM garbage g JOIN chunks c ON c.id = g.chunk_id JOIN replica_sets s ON s.id = c.set_id
         WHERE instr(',' || s.workers || ',', ',' || g.worker_id || ',') > 0`,
        ),
      ],
      ["a file's chunks exist", ask("SELECT chunk_id FROM file_chunks WHERE chunk_id NOT IN (SELECT id FROM chunks)")],
      [
        "a file is as long as its chunks",
        ask(`SELECT e.key, e.size FROM entries e WHERE e.key NOT LIKE '%/' AND e.size <>
             (SELECT coalesce(sum(c.length), 0) FROM file_chunks f JOIN chunks c ON c.id = f.chunk_id WHERE f.file_id = e.id)`),
      ],
      [
        "a name is a file or a directory",
        ask(`SELECT a.parent, a.key FROM entries a JOIN entries b ON b.parent = a.parent AND b.key = a.key || '/'`),
      ],
    ];
    return wrong
      .filter(([, found]) => found.length > 0)
      .map(([claim, found]) => `${claim}: ${JSON.stringify(found[0])}`);
  }
}
