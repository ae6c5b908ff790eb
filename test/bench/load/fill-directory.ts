/**
 * Load generator: makes the data of a master that holds one directory of very many names, as if it had applied their
 * creates and cut back its log. Every name went through `decide`; what is left out is the way there.
 */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { MasterLog } from "../../../databases/master-log.ts";
import { SqliteMetadata } from "../../../databases/metadata/sqlite-metadata.ts";
import { runAsLoad } from "./load-process.ts";
import { createEmpty, nameOf } from "./numbered-files.ts";

export interface FillDirectoryTask {
  dataDirectory: string;
  nodeId: string;
  clusterId: string;
  directory: string;
  names: number;
}

const APPLIED_AT_ONCE = 5000;
const BEGAN_AT = Date.parse("2026-01-01");

await runAsLoad<FillDirectoryTask, { names: number }>(async (task) => {
  const { dataDirectory, nodeId, clusterId, directory, names } = task;
  mkdirSync(dataDirectory, { recursive: true });
  const log = new MasterLog(join(dataDirectory, "master_metadata.db"), {
    clusterId,
    nodeId,
    configuration: { voters: [[nodeId]], learners: [] },
  });
  const state = new SqliteMetadata(join(dataDirectory, "dfs_metadata.db"));
  const create = (n: number) => ({
    proposal: {
      command: createEmpty(`${directory}/${nameOf(n)}`),
      sessionId: 0,
      seq: 0,
      lowestUnacked: 0,
      idempotencyKey: null,
    },
    env: { index: n + 1, term: 1, logTime: n, wallTime: BEGAN_AT + n },
  });
  return async () => {
    for (let from = 0; from < names; from += APPLIED_AT_ONCE) {
      const length = Math.min(APPLIED_AT_ONCE, names - from);
      const results = state.apply(Array.from({ length }, (_, n) => create(from + n)));
      const refused = results.find(({ ok }) => !ok);
      if (refused) throw new Error(`A name was refused: ${JSON.stringify(refused)}`);
    }
    const { index, term } = state.makeDurable();
    state.close();
    log.adoptSnapshot({ index, term, configuration: { voters: [[nodeId]], learners: [] }, generation: 0 });
    log.write({ hard: { term, vote: null }, changes: [] });
    log.close();
    return { names };
  };
});
