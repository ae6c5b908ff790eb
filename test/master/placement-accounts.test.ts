/** Why chunks were placed where they are: shared by the grants of a moment, kept for a while, never needed to go on. */
import { describe, expect, test } from "bun:test";
import type { PlacementDecision } from "../../actors/messages/primitives.ts";
import { isGranted } from "../../actors/rules/decide/chunks.ts";
import { ACCOUNTS_KEPT_MS } from "../../actors/rules/decide/expiry.ts";
import { Layouts } from "../../actors/rules/redundancy/layouts.ts";
import { type Candidate, choose, explain } from "../../actors/rules/redundancy/placement.ts";
import { MetadataHarness } from "../support/metadata-harness.ts";

const LEASE_MS = 60_000;
const HOUR_MS = 3_600_000;
const of = (moment: number): PlacementDecision => ({
  ...{ atLogTime: moment, rule: "new chunk: 3 workers", candidates: [{ workerId: "w1", score: 0.5 }] },
  counts: { "can take it": 4, dead: 1 },
});

function cluster(version = 4): MetadataHarness & { place(moment: number, count?: number): number } {
  const dfs = new MetadataHarness();
  dfs.run({ type: "SET_CLUSTER_VERSION", version });
  const place = (moment: number, count = 1): number =>
    dfs.accept<{ firstChunkId: number }>({
      ...{ type: "GRANT_CHUNKS", gatewayId: "g1", count, leaseMs: LEASE_MS, decision: of(moment) },
      ...(count === 1 ? { chosen: ["w3", "w1", "w2"] } : {}),
    }).firstChunkId;
  return Object.assign(dfs, { place });
}
const stored = (chunkId: number) => ({ chunkId, lengthBytes: 10, crc32: 7, workerIds: ["w1", "w2", "w3"] });
const expire = { type: "EXPIRE", sessionIdleMs: HOUR_MS } as const;

describe("an account", () => {
  test("is written once for grants of one moment, and each chunk has its own workers beside it", () => {
    const dfs = cluster();
    const [first, second] = [dfs.place(1), dfs.place(1)];
    const pool = dfs.place(1, 100);
    const later = dfs.place(2);
    expect(dfs.count("accounts")).toBe(2);
    expect(dfs.queries.placementOf(first)).toEqual({ ...of(1), chosen: ["w3", "w1", "w2"] });
    expect(dfs.queries.placementOf(second)).toEqual({ ...of(1), chosen: ["w3", "w1", "w2"] });
    expect(dfs.queries.placementOf(pool + 99)).toEqual(of(1));
    expect(dfs.queries.placementOf(later)).toEqual({ ...of(2), chosen: ["w3", "w1", "w2"] });
    expect(dfs.queries.placementOf(later + 1)).toBeNull();
  });

  test("is not shared with a grant of long after, though it says the same", () => {
    const dfs = cluster();
    dfs.place(1);
    dfs.logTime += HOUR_MS;
    dfs.place(1);
    expect(dfs.count("accounts")).toBe(2);
  });

  test("of before cluster version 4 is in its grant's own row, and is read as ever", () => {
    const dfs = cluster(3);
    const chunkId = dfs.place(1);
    expect(dfs.count("accounts")).toBe(0);
    dfs.run({ type: "SET_CLUSTER_VERSION", version: 4 });
    dfs.place(2);
    expect(dfs.queries.placementOf(chunkId)).toEqual(of(1));
  });

  test("names the best eight of either kind and counts the rest, however many workers there are", () => {
    const workers = Array.from(
      { length: 100 },
      (_, n): Candidate => ({
        ...{ id: `worker-${n}`, zone: `zone-${n % 5}`, mode: "active", condition: "normal", load: 0, chunkCount: 0 },
        ...{ liveness: n % 10 === 0 ? "dead" : "live", freeBytes: 1000 - n, capacityBytes: 1000, reservedBytes: 0 },
      }),
    );
    const wish = { count: 3, sizeBytes: 10, exclude: new Set(["worker-1"]), holders: new Set<string>() };
    const { candidates, counts } = explain(workers, wish, 0, "new chunk");
    expect(candidates.map(({ workerId }) => workerId).slice(0, 3)).toEqual(["worker-2", "worker-3", "worker-4"]);
    expect(candidates.filter(({ rejected }) => rejected === undefined)).toHaveLength(8);
    expect(candidates.filter(({ rejected }) => rejected !== undefined)).toHaveLength(8);
    expect(candidates[8]).toMatchObject({ workerId: "worker-1", rejected: "just failed for the writer" });
    expect(counts).toEqual({ "can take it": 89, dead: 10, "just failed for the writer": 1 });
    expect(JSON.stringify({ candidates, counts }).length).toBeLessThan(1000);
    expect(choose(workers, new Layouts(workers, 0), wish, Math.random)).toHaveLength(3);
  });
});

describe("thirty days later", () => {
  test("accounts and ended grants are dropped in slices, and their chunks are there as before", () => {
    const dfs = cluster();
    for (let n = 0; n < 600; n++) {
      const chunkId = dfs.place(n);
      dfs.accept(dfs.put(`f${n}`, [stored(chunkId)]));
      dfs.accept({ type: "CLOSE_GRANTS", grantIds: [chunkId] });
    }
    dfs.logTime = ACCOUNTS_KEPT_MS - 1;
    expect(dfs.queries.expiredCount(dfs.logTime, HOUR_MS)).toBe(0);
    expect(dfs.accept(expire)).toEqual({ more: false });
    expect(dfs.count("grants")).toBe(600);

    dfs.logTime = ACCOUNTS_KEPT_MS + LEASE_MS;
    expect(dfs.queries.expiredCount(dfs.logTime, HOUR_MS)).toBeGreaterThan(0);
    expect(dfs.accept(expire)).toEqual({ more: true });
    expect([dfs.count("grants"), dfs.count("accounts")]).toEqual([88, 88]);
    expect(dfs.accept(expire)).toEqual({ more: false });
    expect([dfs.count("grants"), dfs.count("accounts")]).toEqual([0, 0]);
    expect(dfs.queries.expiredCount(dfs.logTime, HOUR_MS)).toBe(0);

    const { chunks } = dfs.queries.locate("f599", 0, 1);
    expect(chunks).toHaveLength(1);
    expect(dfs.queries.placementOf(chunks[0]?.chunkId as number)).toBeNull();
    expect(dfs.violations()).toEqual([]);
  });

  test("an open grant stays, and covers none of the ids of its dropped neighbours", () => {
    const dfs = cluster();
    const [before, open, after] = [dfs.place(1, 5), dfs.place(1, 5), dfs.place(1, 5)];
    for (const id of [before, after]) {
      dfs.accept(dfs.put(`f${id}`, [stored(id)]));
      dfs.accept({ type: "CLOSE_GRANTS", grantIds: [id] });
    }
    dfs.accept({ type: "RENEW_GRANTS", grantIds: [open], leaseMs: 2 * ACCOUNTS_KEPT_MS });
    dfs.logTime = ACCOUNTS_KEPT_MS + LEASE_MS;
    dfs.accept(expire);
    expect(dfs.count("grants")).toBe(1);
    const covered = Array.from({ length: 15 }, (_, n) => before + n).filter((id) => dfs.metadata.ask(isGranted(id)));
    expect(covered).toEqual([open, open + 1, open + 2, open + 3, open + 4]);
    expect(dfs.refusal(dfs.put("late", [stored(after + 1)]))).toBe("GRANT_EXPIRED");
    expect(dfs.refusal(dfs.put("early", [stored(before + 1)]))).toBe("GRANT_EXPIRED");
    dfs.accept(dfs.put("in time", [stored(open + 4)]));
  });

  test("below cluster version 4 nothing is dropped, and no EXPIRE is asked for in vain", () => {
    const dfs = cluster(3);
    const chunkId = dfs.place(1);
    dfs.accept(dfs.put("f", [stored(chunkId)]));
    dfs.accept({ type: "CLOSE_GRANTS", grantIds: [chunkId] });
    dfs.logTime = 2 * ACCOUNTS_KEPT_MS;
    expect(dfs.queries.expiredCount(dfs.logTime, 10 * ACCOUNTS_KEPT_MS)).toBe(0);
    dfs.accept(expire);
    expect(dfs.queries.placementOf(chunkId)).toEqual(of(1));
    dfs.run({ type: "SET_CLUSTER_VERSION", version: 4 });
    expect(dfs.queries.expiredCount(dfs.logTime, 10 * ACCOUNTS_KEPT_MS)).toBe(1);
    dfs.accept(expire);
    expect(dfs.queries.placementOf(chunkId)).toBeNull();
  });
});
