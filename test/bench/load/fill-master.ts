/**
 * Makes the data of a master as if it had applied many commands and cut back its log. Every command goes through `decide`;
 * what is left out is the way there.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "../../../actors/messages/commands.ts";
import { MasterLog } from "../../../databases/master-log.ts";
import { SqliteMetadata } from "../../../databases/metadata/sqlite-metadata.ts";

export interface FilledMaster {
  dataDirectory: string;
  nodeId: string;
  clusterId: string;
}

const APPLIED_AT_ONCE = 5000;
const BEGAN_AT = Date.parse("2026-01-01");

export class MasterFilling {
  readonly state: SqliteMetadata;
  readonly #log: MasterLog;
  readonly #nodeId: string;
  #applied = 0;

  constructor({ dataDirectory, nodeId, clusterId }: FilledMaster) {
    mkdirSync(dataDirectory, { recursive: true });
    this.#nodeId = nodeId;
    this.#log = new MasterLog(join(dataDirectory, "master_metadata.db"), {
      clusterId,
      nodeId,
      configuration: { voters: [[nodeId]], learners: [] },
    });
    this.state = new SqliteMetadata(join(dataDirectory, "dfs_metadata.db"));
  }

  /** @throws if one of them is refused */
  apply(count: number, command: (n: number) => Command): void {
    for (let from = 0; from < count; from += APPLIED_AT_ONCE) {
      const length = Math.min(APPLIED_AT_ONCE, count - from);
      const results = this.state.apply(Array.from({ length }, (_, n) => this.#entry(command(from + n))));
      const refused = results.find(({ ok }) => !ok);
      if (refused) throw new Error(`A command was refused: ${JSON.stringify(refused)}`);
    }
  }

  #entry(command: Command) {
    const n = this.#applied++;
    return {
      proposal: { command, sessionId: 0, seq: 0, lowestUnacked: 0, idempotencyKey: null },
      env: { index: n + 1, term: 1, logTime: n, wallTime: BEGAN_AT + n },
    };
  }

  /** The log begins behind all of it, and a master can be started. */
  finish(): void {
    const { index, term } = this.state.makeDurable();
    this.state.close();
    const configuration = { voters: [[this.#nodeId]], learners: [] };
    this.#log.adoptSnapshot({ index, term, configuration, generation: 0 });
    this.#log.write({ hard: { term, vote: null }, changes: [] });
    this.#log.close();
  }
}
