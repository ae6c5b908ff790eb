/** What a leader makes of the chunks that a worker lists: which are kept, taken in, or sent to the trash. */

import { describe, expect, test } from "bun:test";
import { Reconciliation } from "../../actors/master/leading/reconciliation.ts";
import type { MetadataPort } from "../../actors/master/metadata-port.ts";
import { Refusal } from "../../actors/messages/errors.ts";
import { sharedSecret } from "../../actors/node/identity/signature.ts";
import { createLogger } from "../../actors/node/log.ts";
import { MetadataHarness } from "../support/metadata-harness.ts";

type Parts = ConstructorParameters<typeof Reconciliation>[0];

/** A leader over the harness's state; `leads` false: it was deposed and does not know it yet. */
function leaderOf(dfs: MetadataHarness) {
  const leader = { leads: true };
  const metadata: MetadataPort = {
    version: 4,
    voters: () => [],
    ...{
      queries: dfs.queries,
      term: 1,
      appliedIndex: 1,
      logTime: 0,
      members: () => ["master-1"],
      watchSets: () => () => {},
    },
    row: (name, where) => dfs.metadata.row(name, where),
    rows: (name, where) => dfs.metadata.rows(name, where),
    ask: (question) => dfs.metadata.ask(question),
    execute: () => Promise.reject(new Error("no command of a client comes here")),
    propose: async (command) => dfs.accept(command),
    confirmRead: async () => {
      if (!leader.leads) throw new Refusal("NOT_LEADER", "Another one leads");
    },
  };
  const worker = { incarnation: "first-disk", epoch: 1, mode: "active", url: "http://127.0.0.1:1" };
  const reconciliation = new Reconciliation({
    identity: { nodeId: "master-1", credentials: sharedSecret("master-1", ""), clusterId: () => null },
    metadata,
    workers: { get: () => worker, livenessOf: () => "live", noteCompared: () => {} } as unknown as Parts["workers"],
    steward: {
      state: "steady",
      verdicts: { setsOn: () => dfs.queries.replicaSets().map(({ id }) => id) },
      repairs: { isTargetOf: () => false },
      markReplicas: async () => {},
    } as unknown as Parts["steward"],
    log: createLogger("test", "silent" as "debug"),
  });
  /** The worker lists these chunks. @returns those that it is told to trash */
  const judge = async (chunkIds: number[], crc32 = 7) => {
    const chunks = chunkIds.map((chunkId) => ({ chunkId, lengthBytes: 10, crc32 }));
    const page = { fromId: 1, toId: Number.MAX_SAFE_INTEGER, count: chunks.length, digest: "other", chunks };
    const answer = await reconciliation.reconcile({
      type: "RECONCILE",
      workerId: "w1",
      incarnation: "first-disk",
      epoch: 1,
      ...page,
    } as Parameters<Reconciliation["reconcile"]>[0]);
    return answer.trash;
  };
  return { leader, judge };
}

const HOUR = 3_600_000;

describe("a chunk that no file has", () => {
  test("61d. a chunk of no file is kept until an entry of the log has ended its grant, however late the clock says it is", async () => {
    const dfs = new MetadataHarness();
    const { judge } = leaderOf(dfs);
    const chunk = dfs.chunk();
    expect(await judge([chunk.chunkId])).toEqual([]);
    // An entry that commits it may be under way, stamped before the lease ran out.
    dfs.logTime = HOUR;
    expect(await judge([chunk.chunkId])).toEqual([]);
    dfs.accept({ type: "EXPIRE", sessionIdleMs: 1e9 });
    expect(await judge([chunk.chunkId])).toEqual([chunk.chunkId]);
    expect(dfs.refusal(dfs.put("file", [chunk]))).toBe("GRANT_EXPIRED");
  });

  test("61e. a chunk of no file is not judged by a leader that was deposed, for its successor may have granted it", async () => {
    const dfs = new MetadataHarness();
    const { leader, judge } = leaderOf(dfs);
    leader.leads = false;
    const grantedElsewhere = 999;
    expect(await judge([grantedElsewhere]).catch(({ code }) => code)).toBe("NOT_LEADER");
    leader.leads = true;
    expect(await judge([grantedElsewhere])).toEqual([grantedElsewhere]);
  });

  test("60c. a chunk of no file whose delete waits for its worker is left to the order that is due", async () => {
    const dfs = new MetadataHarness();
    const { judge } = leaderOf(dfs);
    const chunk = dfs.chunk(["w1", "w2"]);
    dfs.accept(dfs.put("file", [chunk]));
    dfs.accept({ type: "DELETE_PATH", path: "file", recursive: false, condition: {} });
    dfs.accept({ type: "CLOSE_GRANTS", grantIds: [chunk.chunkId] });
    expect(await judge([chunk.chunkId])).toEqual([]);
    dfs.accept({ type: "FORGET_GARBAGE", items: [{ chunkId: chunk.chunkId, workerId: "w1" }] });
    expect(await judge([chunk.chunkId])).toEqual([chunk.chunkId]);
  });
});
