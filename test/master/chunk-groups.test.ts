/** Chunk ids carry the group of masters that hands them out: nobody hands out, judges or deletes another group's. */
import { afterEach, describe, expect, test } from "bun:test";
import type { Command } from "../../actors/messages/commands.ts";
import { ChunkId } from "../../actors/messages/primitives.ts";
import { areOfOneGroup, formatChunkId, groupOf, lastIdOf, parseChunkId } from "../../actors/rules/chunk-id.ts";
import { inventoryDigest } from "../../actors/rules/redundancy/inventory-digest.ts";
import { reconcilePage } from "../../actors/worker/leader/reconcile.ts";
import {
  chunkFileName,
  chunkIdOfFileName,
  decodeFooter,
  encodeTrailer,
  FOOTER_BYTES,
  trailerBytes,
} from "../../actors/worker/store/shelves/chunk-file.ts";
import { ManualCluster } from "../support/manual-cluster.ts";
import { MetadataHarness } from "../support/metadata-harness.ts";
import { SEED, seeded } from "../support/random.ts";

const GROUP_IDS = 2 ** 40;
const LAST_GROUP = 8191;

describe("an id", () => {
  test("of the last group's end is the highest that messages may hold", () => {
    expect(lastIdOf(LAST_GROUP)).toBe(Number.MAX_SAFE_INTEGER);
    expect(ChunkId.maximum).toBe(lastIdOf(LAST_GROUP));
    expect(groupOf(lastIdOf(LAST_GROUP))).toBe(LAST_GROUP);
    expect(groupOf(1)).toBe(0);
  });

  test(`says its group, and is spelt, filed and written into its chunk's file without loss  SEED=${SEED}`, () => {
    const random = seeded(SEED);
    for (let n = 0; n < 500; n++) {
      const group = Math.floor(random() * (LAST_GROUP + 1));
      const chunkId = group * GROUP_IDS + 1 + Math.floor(random() * (GROUP_IDS - 1));
      expect(groupOf(chunkId)).toBe(group);
      expect(chunkId).toBeLessThanOrEqual(lastIdOf(group));
      expect(parseChunkId(formatChunkId(chunkId))).toBe(chunkId);
      const [folder, name = ""] = chunkFileName(chunkId).split("/");
      expect(folder).toBe((chunkId % 256).toString(16).padStart(2, "0"));
      expect(chunkIdOfFileName(name)).toBe(chunkId);
      const trailer = {
        chunkId,
        lengthBytes: 10,
        blockSizeBytes: 512,
        crc32: 7,
        blockCrcs: Uint32Array.of(7),
        sealedAt: 1,
      };
      const footer = encodeTrailer(trailer).subarray(-FOOTER_BYTES);
      expect(decodeFooter(footer, 10 + trailerBytes(1))).toMatchObject({ value: { chunkId } });
    }
  });

  test("of a range belongs to one group, or the range is nobody's", () => {
    expect(areOfOneGroup(1, 1024)).toBe(true);
    expect(areOfOneGroup(GROUP_IDS - 2, 2)).toBe(true);
    expect(areOfOneGroup(GROUP_IDS - 2, 3)).toBe(false);
    expect(areOfOneGroup(GROUP_IDS, 1)).toBe(false);
    expect(areOfOneGroup(GROUP_IDS + 1, 1)).toBe(true);
  });
});

describe("a group's last ids", () => {
  const nearTheEnd = (left: number): MetadataHarness => {
    const dfs = new MetadataHarness();
    dfs.run({ type: "SET_CLUSTER_VERSION", version: 4 });
    dfs.metadata.prepare("UPDATE totals SET next_chunk_id = ?").run(GROUP_IDS - left);
    return dfs;
  };
  const grant = (count: number): Command => ({
    ...{ type: "GRANT_CHUNKS", gatewayId: "g1", count, leaseMs: 60_000 },
    decision: { atLogTime: 0, rule: "test", candidates: [] },
  });

  test("are granted, and then none: the next group's are not touched, and what is there goes on", () => {
    const dfs = nearTheEnd(3);
    expect(dfs.refusal(grant(4))).toBe("CHUNK_IDS_USED_UP");
    const first = dfs.grant(3);
    expect(first).toBe(GROUP_IDS - 3);
    for (let n = 0; n < 3; n++) expect(dfs.refusal(grant(1))).toBe("CHUNK_IDS_USED_UP");
    const stored = { chunkId: GROUP_IDS - 1, lengthBytes: 10, crc32: 7, workerIds: ["w1", "w2", "w3"] };
    dfs.accept(dfs.put("last", [stored]));
    dfs.accept({ type: "COPY_PATH", from: "last", to: "copy", overwrite: false, condition: {} });
    dfs.accept({ type: "DELETE_PATH", path: "last", recursive: false, condition: {} });
    expect(dfs.violations()).toEqual([]);
  });

  test("are not jumped over by a backup that is restored", () => {
    const dfs = nearTheEnd(100);
    dfs.metadata.beginHistory({ index: 700, term: 9, skippedChunkIds: 2 ** 32 });
    expect(dfs.metadata.row("totals", {})?.nextChunkId).toBe(GROUP_IDS);
  });
});

describe("another group's chunks on a worker", () => {
  let cluster: ManualCluster | undefined;
  afterEach(() => cluster?.stop());
  const foreign = { chunkId: GROUP_IDS + 5, lengthBytes: 10, crc32: 7 };

  test("are in no page that its leader is asked about", async () => {
    const own = [1, 2, 3].map((chunkId) => ({ chunkId, lengthBytes: 10, crc32: 7 }));
    const asked: { fromId: number; toId: number; count: number; digest: string }[] = [];
    const index = {
      sealedAfter: (after: number, limit: number) =>
        [...own, foreign].filter(({ chunkId }) => chunkId > after).slice(0, limit),
    };
    const host = {
      ...{ index, pageSize: 2, trash: async () => {} },
      settled: async () => {},
      ask: async (page: (typeof asked)[number]) => {
        asked.push(page);
        return { match: true, trash: [], decidedAt: 0, adopted: 0, missing: 0 };
      },
    } as unknown as Parameters<typeof reconcilePage>[0];
    for (let from: number | null = 0; from !== null; ) from = await reconcilePage(host, from);
    expect(asked).toMatchObject([
      { fromId: 0, toId: 2, ...inventoryDigest(own.slice(0, 2)) },
      { fromId: 3, toId: Number.MAX_SAFE_INTEGER, ...inventoryDigest(own.slice(2)) },
    ]);
  });

  test("are neither trashed nor discarded by a leader that is told of them", async () => {
    cluster = await ManualCluster.start();
    await cluster.pass(10_000);
    const worker = cluster.w(1);
    const stray = { ...foreign, chunkId: 5000 };
    const { handlers } = cluster.office;
    const told = await handlers.RECONCILE(
      {
        ...{ type: "RECONCILE", workerId: worker.id, ...worker.me, fromId: 0, toId: Number.MAX_SAFE_INTEGER },
        ...{ ...inventoryDigest([stray, foreign]), chunks: [stray, foreign] },
      },
      worker.id,
    );
    expect(told.trash).toEqual([stray.chunkId]);
    const answer = await handlers.HEARTBEAT(
      {
        ...{ type: "HEARTBEAT", workerId: worker.id, ...worker.me, condition: "normal", mode: "active", load: 0 },
        ...{ capacityBytes: 1000, freeBytes: 1000, trashBytes: 0, chunkCount: 0, openChunks: 2, badReplicas: [] },
        idleOpenChunks: [stray.chunkId, foreign.chunkId],
      },
      worker.id,
    );
    expect(answer.discard).toEqual([stray.chunkId]);
  });
});
