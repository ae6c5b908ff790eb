/** Commands that a store applies as the log would have it, with a clock that the test turns. */

import type { StoredChunk } from "../../actors/messages/chunk.ts";
import type { Command, CommandResult } from "../../actors/messages/commands.ts";
import type { EntryEnvironment } from "../../actors/rules/decide/decision.ts";
import type { MetadataStore, Queries } from "../../databases/metadata/store.ts";

export class LogRunner<Store extends MetadataStore = MetadataStore> {
  metadata: Store;
  logTime = 0;
  #index: number;

  constructor(store: Store) {
    this.metadata = store;
    this.#index = store.applied().index;
  }

  get queries(): Queries {
    return this.metadata.queries;
  }

  register(workers = ["w1", "w2", "w3", "w4", "w5"]): void {
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

  /** As the leader of three masters with much room puts it into the log. */
  putTiny(path: string, content: Uint8Array, more: Partial<Extract<Command, { type: "PUT_FILE" }>> = {}): Command {
    return this.put(path, [], {
      ...{ content, sizeBytes: content.length, crc32: Bun.hash.crc32(content) },
      room: { masters: 3, totalBytes: 1 << 30 },
      ...more,
    });
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
}
