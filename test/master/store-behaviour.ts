/** What every store of the metadata must do, whatever is behind it: the claims of `databases/metadata/store.ts`. */
import { afterEach, describe, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Command } from "../../actors/messages/commands.ts";
import { CannotApply } from "../../actors/rules/decide/decision.ts";
import { copies } from "../../actors/rules/redundancy/scheme.ts";
import { SqliteMetadata } from "../../databases/metadata/sqlite-metadata.ts";
import type { MetadataStore } from "../../databases/metadata/store.ts";
import { eventfulLife } from "../support/eventful-life.ts";
import { LogRunner } from "../support/log-runner.ts";

/**
 * Written down from the programs that first shipped with cluster versions 3 and 4. Masters of different programs compare the
 * hashes of their states, so what a log gave once, it must give for ever.
 */
const HASHES = [147508373, 248922993, 4083151217, 3248217114, 3589479865, 1134567935, 2930741199, 2785770341];

const proposal = (command: Command) => ({
  command,
  sessionId: 0,
  seq: 0,
  lowestUnacked: 0,
  idempotencyKey: null,
});

/**
 * @param make makes an empty store below an empty folder
 * @param cannot what this store need not do, each with its reason
 */
export function describeStore(
  name: string,
  make: (folder: string) => MetadataStore,
  cannot: { beCopied?: string } = {},
): void {
  describe(`a store of the metadata: ${name}`, () => {
    let folder = "";
    let store: MetadataStore | null = null;
    const open = (): MetadataStore => {
      folder = mkdtempSync(join(tmpdir(), "dfs-store-"));
      store = make(folder);
      return store;
    };
    const runner = (): LogRunner => {
      const dfs = new LogRunner(open());
      dfs.register();
      return dfs;
    };
    afterEach(() => {
      store?.close();
      rmSync(folder, { recursive: true, force: true });
    });

    test("begins at entry 0, with nothing in it", () => {
      const fresh = open();
      expect(fresh.applied()).toEqual({ index: 0, term: 0, logTime: 0, wallTime: 0, version: 1, stateHash: 0 });
      expect(fresh.row("totals", {})).toEqual({
        ...{ files: 0, directories: 0, bytes: 0, tinyBytes: 0, nextChunkId: 1, nextNodeId: 1 },
      });
      expect(fresh.queries.list({ prefix: "", delimiter: false, after: "", limit: 10 })).toEqual({
        entries: [],
        next: null,
      });
    });

    test("gives one log the hashes that the first program of its cluster version gave it", () => {
      expect(eventfulLife(runner())).toEqual(HASHES);
    });

    test("answers each read with whole rows in the words of the rules", () => {
      const dfs = runner();
      const chunk = dfs.chunk(["w3", "w1"], 5);
      dfs.accept(dfs.put("a/f", [chunk], { userMetadata: { k: "v" }, sha256: "ab" }));
      const { chunkId } = chunk;
      const file = dfs.metadata.row("entry", { parent: 2, key: "f" });
      expect(file).toMatchObject({ sizeBytes: 5, userMetadata: { k: "v" }, sha256: "ab", replicationFactor: 3 });
      const row = {
        id: chunkId,
        lengthBytes: 5,
        crc32: 7,
        refs: 1,
        setId: 1,
        scheme: copies(3),
        workers: ["w1", "w3"],
      };
      expect(dfs.metadata.row("chunk", { chunkId })).toEqual(row);
      expect(dfs.metadata.rows("fileChunks", { fileId: file?.id ?? 0, limit: 9 })).toEqual([
        { ...row, fileId: file?.id ?? 0, index: 0, offset: 0 },
      ]);
      expect(dfs.metadata.rows("replicaSets", {})).toEqual([
        { id: 1, scheme: copies(3), workers: ["w1", "w3"], chunkCount: 1 },
      ]);
      expect(dfs.metadata.row("shortChunk", { fileId: file?.id ?? 0, minReplicas: 3 })).toEqual({
        id: chunkId,
        workers: ["w1", "w3"],
      });
      expect(dfs.metadata.row("shortChunk", { fileId: file?.id ?? 0, minReplicas: 2 })).toBeUndefined();
      expect(dfs.metadata.row("grantOf", { chunkId })).toMatchObject({ gatewayId: "g1", isOpen: true, count: 1 });
      expect(dfs.metadata.row("worker", { workerId: "w1" })).toMatchObject({ mode: "active", lostBelow: 0 });
      expect(dfs.metadata.row("worker", { workerId: "nobody" })).toBeUndefined();
    });

    test("applies a batch whole or not at all", () => {
      const dfs = runner();
      const before = dfs.metadata.applied();
      const at = (n: number) => ({ index: before.index + n, term: 1, logTime: 0, wallTime: 1e12 });
      const batch = [
        { proposal: proposal({ type: "MAKE_DIRECTORY", path: "d" }), env: at(1) },
        { proposal: proposal({ type: "UNHEARD_OF" } as unknown as Command), env: at(2) },
      ];
      expect(() => dfs.metadata.apply(batch)).toThrow(CannotApply);
      expect(dfs.metadata.applied()).toEqual(before);
      expect(dfs.queries.stat("d")).toBeNull();
    });

    test("remembers no row beyond the write that changed it", () => {
      const dfs = runner();
      dfs.accept({ type: "MAKE_DIRECTORY", path: "a/b" });
      expect(dfs.queries.stat("a/b")?.kind).toBe("directory");
      dfs.accept({ type: "RENAME_PATH", from: "a/b", to: "a/c", overwrite: false, condition: {} });
      expect(dfs.queries.stat("a/b")).toBeNull();
      expect(dfs.queries.stat("a/c")?.kind).toBe("directory");
    });

    if (cannot.beCopied === undefined)
      test("a copy stands at one entry, and holds all that was applied up to it", async () => {
        const dfs = runner();
        eventfulLife(dfs);
        const path = join(folder, "copy.db");
        const { index } = await dfs.metadata.copyTo(path);
        expect(index).toBe(dfs.metadata.applied().index);
        const copy = new SqliteMetadata(path);
        expect(copy.applied()).toEqual(dfs.metadata.applied());
        expect(copy.queries.list({ prefix: "", delimiter: false, after: "", limit: 1000 })).toEqual(
          dfs.queries.list({ prefix: "", delimiter: false, after: "", limit: 1000 }),
        );
        expect(copy.damage()).toBeNull();
        copy.close();
      });

    test("as the beginning of another history it skips chunk ids, and no session goes on", () => {
      const dfs = runner();
      const { sessionId } = dfs.accept<{ sessionId: number }>({ type: "OPEN_SESSION", clientId: "g1" });
      const { nextChunkId = 0 } = dfs.metadata.row("totals", {}) ?? {};
      dfs.metadata.beginHistory({ index: 700, term: 9, skippedChunkIds: 1000 });
      expect(dfs.metadata.applied()).toMatchObject({ index: 700, term: 9 });
      expect(dfs.metadata.row("totals", {})?.nextChunkId).toBe(nextChunkId + 1000);
      expect(dfs.metadata.row("session", { sessionId })).toBeUndefined();
    });
  });
}
