/** Uploads against everything that may happen beside them, in every order that the log can put it in. */
import { describe, expect, test } from "bun:test";
import type { Command, CommandResult, FileInfo } from "../../actors/messages/commands.ts";
import { MetadataHarness } from "../support/metadata-harness.ts";

const LEASE_MS = 1000;

const openUpload = (path = "file", condition = {}): Command => ({
  type: "OPEN_UPLOAD",
  path,
  replicationFactor: 3,
  minReplicas: 2,
  chunkSizeBytes: 10,
  leaseMs: LEASE_MS,
  condition,
  contentType: "a/b",
  sha256: null,
  userMetadata: {},
});

/** An upload of some chunks, staged but not committed. */
function staged(dfs: MetadataHarness, { chunks = 2, path = "file", workers = ["w1", "w2", "w3"] } = {}) {
  const { uploadId } = dfs.accept<{ uploadId: number }>(openUpload(path));
  const stored = Array.from({ length: chunks }, () => dfs.chunk(workers));
  dfs.accept({ type: "STAGE_CHUNKS", uploadId, offset: 0, chunks: stored, leaseMs: LEASE_MS });
  const { crc32, offset: sizeBytes } = dfs.metadata.row("upload", { uploadId }) as { crc32: number; offset: number };
  const commit: Command = { type: "COMMIT_UPLOAD", uploadId, sizeBytes, crc32, sha256: null };
  return { uploadId, chunkIds: stored.map(({ chunkId }) => chunkId), commit };
}

const remove = (path: string): Command => ({ type: "DELETE_PATH", path, recursive: false, condition: {} });
const wiped = (workerId: string, incarnation = "new-disk"): Command => ({
  type: "REGISTER_WORKER",
  workerId,
  url: `http://127.0.0.1:1${workerId.slice(1)}`,
  zone: workerId,
  incarnation,
  capacityBytes: 1e12,
});
const holders = (dfs: MetadataHarness, path = "file") =>
  dfs.queries.locate(path, 0, 100).chunks.map(({ workerIds }) => workerIds.join());

function permutations<T>(items: readonly T[]): T[][] {
  if (items.length === 0) return [[]];
  return items.flatMap((item, n) => permutations(items.toSpliced(n, 1)).map((rest) => [item, ...rest]));
}

describe("the answer is lost", () => {
  test("53e. a commit that another gateway sends again under the client's key takes effect once, with the same result", () => {
    const dfs = new MetadataHarness();
    const [one, two] = ["g1", "g2"].map(
      (clientId) => dfs.accept<{ sessionId: number }>({ type: "OPEN_SESSION", clientId }).sessionId,
    ) as [number, number];
    const first = dfs.run(dfs.put("file"), { sessionId: one, seq: 1, lowestUnacked: 1 }, "key");
    // The client does not know that it was done; somebody else changes the file meanwhile.
    const theirs = dfs.accept<{ file: FileInfo }>(dfs.put("file"));
    const again = dfs.run(dfs.put("file"), { sessionId: two, seq: 1, lowestUnacked: 1 }, "key");
    expect(again).toEqual(first);
    expect(dfs.queries.stat("file")).toMatchObject({ etag: theirs.file.etag });
    expect(dfs.violations()).toEqual([]);
  });

  test("53f. what one attempt's bytes were refused for is not held against the next attempt of the same request", () => {
    const dfs = new MetadataHarness();
    const none = { sessionId: 0, seq: 0, lowestUnacked: 0 };
    expect(dfs.run(dfs.put("file", [dfs.chunk(["w1"])]), none, "key")).toMatchObject({ code: "TOO_FEW_REPLICAS" });
    const late = dfs.chunk();
    dfs.accept({ type: "CLOSE_GRANTS", grantIds: [late.chunkId] });
    expect(dfs.run(dfs.put("file", [late]), none, "key")).toMatchObject({ code: "GRANT_EXPIRED" });
    const done = dfs.run(dfs.put("file"), none, "key");
    expect(done).toMatchObject({ ok: true });
    expect(dfs.run(dfs.put("file"), none, "key")).toEqual(done);
  });

  test("53g. a session that is used now and then lives on; one that is not used ends", () => {
    const dfs = new MetadataHarness();
    const open = () => dfs.accept<{ sessionId: number }>({ type: "OPEN_SESSION", clientId: "g1" }).sessionId;
    const [used, idle] = [open(), open()];
    for (let seq = 1; seq <= 8; seq++) {
      dfs.logTime += 20 * 60_000;
      expect(
        dfs.run({ type: "MAKE_DIRECTORY", path: `d${seq}` }, { sessionId: used, seq, lowestUnacked: seq }),
      ).toMatchObject({ ok: true });
      if (dfs.queries.expiredCount(dfs.logTime, 3_600_000) > 0)
        dfs.accept({ type: "EXPIRE", sessionIdleMs: 3_600_000 });
    }
    expect(dfs.metadata.row("session", { sessionId: used })).toBeDefined();
    expect(dfs.metadata.row("session", { sessionId: idle })).toBeUndefined();
  });
});

describe("complete, abort and expiry", () => {
  for (const chunks of [2, 40])
    test(`54b. of a commit, an abort and an expiry of one upload exactly one wins in every order, and the losers free nothing of a committed file (${chunks} chunks)`, () => {
      type Move = "commit" | "abort" | "expire";
      for (const order of permutations<Move>(["commit", "abort", "expire"])) {
        const dfs = new MetadataHarness();
        const { uploadId, commit } = staged(dfs, { chunks });
        const results: Record<string, CommandResult> = {};
        for (const move of order) {
          if (move === "expire") dfs.logTime += LEASE_MS;
          results[move] = dfs.run(
            move === "commit"
              ? commit
              : move === "abort"
                ? { type: "ABORT_UPLOAD", uploadId }
                : { type: "EXPIRE", sessionIdleMs: 1e9 },
          );
        }
        dfs.reapAll();
        const isCommitted = order[0] === "commit";
        expect([order, results.commit?.ok]).toEqual([order, isCommitted]);
        expect([order, dfs.paths()]).toEqual([order, isCommitted ? ["file"] : []]);
        expect([order, dfs.count("chunks"), dfs.count("garbage")]).toEqual([
          order,
          isCommitted ? chunks : 0,
          isCommitted ? 0 : 3 * chunks,
        ]);
        expect(dfs.violations()).toEqual([]);
      }
    });

  test("54c. a commit whose lease has run out by log time loses, although nothing was expired yet", () => {
    const dfs = new MetadataHarness();
    const { commit } = staged(dfs);
    dfs.logTime += LEASE_MS;
    expect(dfs.refusal(commit)).toBe("NO_SUCH_UPLOAD");
  });

  test("55. the upload of a client that died ends by log time, its staged chunks become garbage, its other ids end", () => {
    const dfs = new MetadataHarness();
    staged(dfs);
    const unstaged = dfs.chunk();
    dfs.logTime = LEASE_MS;
    dfs.accept({ type: "EXPIRE", sessionIdleMs: 1e9 });
    expect([dfs.count("uploads"), dfs.count("chunks")]).toEqual([0, 0]);
    for (const workerId of ["w1", "w2", "w3"]) expect(dfs.queries.garbageOf(workerId, LEASE_MS, 10)).toHaveLength(2);
    expect(dfs.metadata.row("grant", { grantId: unstaged.chunkId })).toMatchObject({ isOpen: true });
    dfs.logTime = 60_000;
    dfs.accept({ type: "EXPIRE", sessionIdleMs: 1e9 });
    expect(dfs.metadata.row("grant", { grantId: unstaged.chunkId })).toBeUndefined();
    expect(dfs.refusal(dfs.put("file", [unstaged]))).toBe("GRANT_EXPIRED");
  });
});

describe("a copy is lost between seal and commit", () => {
  test("56. a worker that comes back with another disk does not count at a commit for what it sealed before", () => {
    const dfs = new MetadataHarness();
    const chunk = dfs.chunk(["w1", "w2", "w3"]);
    dfs.accept(wiped("w1"));
    dfs.accept(dfs.put("file", [chunk]));
    expect(holders(dfs)).toEqual(["w2,w3"]);
    const another = dfs.chunk(["w1", "w2"]);
    dfs.accept(dfs.put("g", [another]));
    expect(holders(dfs, "g")).toEqual(["w1,w2"]);
  });

  test("56b. a commit with fewer than minReplicas copies left is refused, and nothing is visible", () => {
    const dfs = new MetadataHarness();
    const chunk = dfs.chunk(["w1", "w2"]);
    dfs.accept(wiped("w1"));
    expect(dfs.refusal(dfs.put("file", [chunk]))).toBe("TOO_FEW_REPLICAS");
    expect(dfs.paths()).toEqual([]);
    // Moving or restarting is not losing.
    const kept = dfs.chunk(["w2", "w3"]);
    dfs.accept({ ...wiped("w2", "first-disk"), url: "http://127.0.0.1:9" } as Command);
    dfs.accept(dfs.put("file", [kept]));
    // Nor does a later move make up for the loss.
    const lost = dfs.chunk(["w3", "w4"]);
    dfs.accept(wiped("w3"));
    dfs.accept({ ...wiped("w3"), url: "http://127.0.0.1:9" } as Command);
    expect(dfs.refusal(dfs.put("g", [lost]))).toBe("TOO_FEW_REPLICAS");
  });

  test("56c. a copy that its worker found to be bad before the commit does not count", () => {
    const dfs = new MetadataHarness();
    const chunk = dfs.chunk(["w1", "w2"]);
    dfs.accept({ type: "MARK_REPLICAS", replicas: [{ chunkId: chunk.chunkId, workerId: "w1", state: "corrupt" }] });
    expect(dfs.refusal(dfs.put("file", [chunk]))).toBe("TOO_FEW_REPLICAS");
    dfs.accept(dfs.put("file", [{ ...chunk, workerIds: ["w1", "w2", "w3"] }]));
    expect(holders(dfs)).toEqual(["w2,w3"]);
  });

  test("56d. findings about chunks that were never committed are forgotten with their ids", () => {
    const dfs = new MetadataHarness();
    const first = dfs.grant(2);
    const found = [first, first + 1, first + 9].map((chunkId) => ({
      chunkId,
      workerId: "w1",
      state: "missing" as const,
    }));
    dfs.accept({ type: "MARK_REPLICAS", replicas: found });
    expect(dfs.count("replica_faults")).toBe(2);
    dfs.accept(dfs.put("file", [{ chunkId: first, lengthBytes: 1, crc32: 1, workerIds: ["w1", "w2", "w3"] }]));
    dfs.accept({ type: "CLOSE_GRANTS", grantIds: [first] });
    expect(dfs.queries.faultsOf(first)).toHaveLength(1);
    expect(dfs.count("replica_faults")).toBe(1);
  });

  test("56e. staged chunks that lost copies are repaired first: the commit is refused until then", () => {
    const dfs = new MetadataHarness();
    const { commit, chunkIds } = staged(dfs, { workers: ["w1", "w2"] });
    dfs.accept(wiped("w1"));
    expect(dfs.refusal(commit)).toBe("TOO_FEW_REPLICAS");
    expect(dfs.paths()).toEqual([]);
    const repaired = chunkIds.map((chunkId) => ({ chunkId, workerId: "w4", reason: "repair" }));
    dfs.accept({ type: "ADD_REPLICAS", replicas: repaired.slice(1) });
    expect(dfs.refusal(commit)).toBe("TOO_FEW_REPLICAS");
    dfs.accept({ type: "ADD_REPLICAS", replicas: repaired });
    dfs.accept(commit);
    expect(holders(dfs)).toEqual(["w2,w4", "w2,w4"]);
    expect(dfs.violations()).toEqual([]);
  });
});

describe("two writers of one path", () => {
  test("57b. of two create-only writers of one path one succeeds in either order, and the loser's chunks are no file's", () => {
    for (const winner of [0, 1]) {
      const dfs = new MetadataHarness();
      const puts = [1, 2].map((lengthBytes) =>
        dfs.put("file", [dfs.chunk(["w1", "w2"], lengthBytes)], { condition: { ifNoneMatchAny: true } }),
      );
      const [first, second] = [puts[winner], puts[1 - winner]] as [Command, Command];
      dfs.accept(first);
      expect(dfs.refusal(second)).toBe("PRECONDITION_FAILED");
      expect(dfs.queries.stat("file")).toMatchObject({ sizeBytes: winner + 1 });
      expect(dfs.count("chunks")).toBe(1);
    }
  });

  test("57c. an overwrite swaps whole versions: after every entry a reader finds the one or the other, never a mix", () => {
    const dfs = new MetadataHarness();
    const versionOf = (first: number, chunks: number) =>
      Array.from({ length: chunks }, (_, n) => ({
        chunkId: first + n,
        lengthBytes: 10,
        crc32: 7,
        workerIds: ["w1", "w2"],
      }));
    const [a, b] = [versionOf(dfs.grant(30), 30), versionOf(dfs.grant(20), 20)];
    const whole = [a, b].map((version) => version.map(({ chunkId }) => chunkId).join());
    const { uploadId } = dfs.accept<{ uploadId: number }>(openUpload());
    const moves: Command[] = [
      dfs.put("file", a),
      { type: "STAGE_CHUNKS", uploadId, offset: 0, chunks: b.slice(0, 7), leaseMs: LEASE_MS },
      { type: "STAGE_CHUNKS", uploadId, offset: 70, chunks: b.slice(7), leaseMs: LEASE_MS },
    ];
    const seen: string[] = [];
    const look = () => {
      const { entry, chunks } = dfs.queries.locate("file", 0, 1000);
      const ids = chunks.map(({ chunkId }) => chunkId).join();
      expect(whole).toContain(ids);
      expect(entry).toMatchObject({ sizeBytes: 10 * chunks.length, chunkCount: chunks.length });
      seen.push(ids);
    };
    for (const move of moves) {
      dfs.accept(move);
      look();
    }
    const { crc32 } = dfs.metadata.row("upload", { uploadId }) as { crc32: number };
    dfs.accept({ type: "COMMIT_UPLOAD", uploadId, sizeBytes: 200, crc32, sha256: null });
    look();
    // The old version of many chunks is freed in slices; the new one is not touched by it.
    while (dfs.accept<{ more: boolean }>({ type: "REAP_DELETED" }).more) look();
    expect(seen.indexOf(whole[1] as string)).toBe(3);
    expect(dfs.violations()).toEqual([]);
  });
});

describe("leases and the clock", () => {
  test("61. a lease that has run out is not prolonged, for its chunks may be judged to be of no file", () => {
    const dfs = new MetadataHarness();
    const chunk = dfs.chunk();
    dfs.logTime = 60_000;
    dfs.accept({ type: "RENEW_GRANTS", grantIds: [chunk.chunkId], leaseMs: 60_000 });
    expect(dfs.refusal(dfs.put("file", [chunk]))).toBe("GRANT_EXPIRED");
  });
});

describe("copy and delete planned for one chunk at once", () => {
  const drop = (chunkId: number, workerId: string, keep: string[], term = 1): Command => ({
    type: "DROP_REPLICA",
    term,
    chunkId,
    workerId,
    keep,
  });

  test("64c. of two drops and a bad copy of one chunk, in every order, never more go than leave the factor", () => {
    for (const order of permutations(["drop w1", "drop w2", "bad w3", "copy w5"])) {
      const dfs = new MetadataHarness();
      const chunk = dfs.chunk(["w1", "w2", "w3", "w4"]);
      dfs.accept(dfs.put("file", [chunk]));
      const { chunkId } = chunk;
      // Each was planned on what was true before any of them.
      const planned: Record<string, Command> = {
        "drop w1": drop(chunkId, "w1", ["w2", "w3", "w4"]),
        "drop w2": drop(chunkId, "w2", ["w1", "w3", "w4"]),
        "bad w3": { type: "MARK_REPLICAS", replicas: [{ chunkId, workerId: "w3", state: "corrupt" }] },
        "copy w5": { type: "ADD_REPLICAS", replicas: [{ chunkId, workerId: "w5", reason: "repair" }] },
      };
      for (const move of order) {
        const before = holders(dfs)[0]?.split(",").length ?? 0;
        const { ok } = dfs.run(planned[move] as Command);
        const after = holders(dfs)[0]?.split(",") ?? [];
        if (move.startsWith("drop") && ok) expect([order, before > 3, after.length]).toEqual([order, true, before - 1]);
        expect([order, after.filter((id) => id !== "w3").length >= 2]).toEqual([order, true]);
      }
      expect(dfs.violations()).toEqual([]);
    }
  });

  test("64e. what one leader proved of copies proves nothing under the next", () => {
    const dfs = new MetadataHarness();
    const chunk = dfs.chunk(["w1", "w2", "w3", "w4"]);
    dfs.accept(dfs.put("file", [chunk]));
    const keep = ["w2", "w3", "w4"];
    for (const term of [0, 2]) expect(dfs.refusal(drop(chunk.chunkId, "w1", keep, term))).toBe("STALE_TERM");
    expect(holders(dfs)).toEqual(["w1,w2,w3,w4"]);
    dfs.accept(drop(chunk.chunkId, "w1", keep));
  });

  test("64d. a file that is deleted while one of its chunks is copied: the copy is not taken in, and goes as an unknown one", () => {
    const dfs = new MetadataHarness();
    const chunk = dfs.chunk(["w1", "w2"]);
    dfs.accept(dfs.put("file", [chunk]));
    dfs.accept(remove("file"));
    const { added } = dfs.accept<{ added: number }>({
      type: "ADD_REPLICAS",
      replicas: [{ chunkId: chunk.chunkId, workerId: "w3", reason: "repair" }],
    });
    expect(added).toBe(0);
    expect(dfs.queries.garbageOf("w3", dfs.logTime, 10)).toEqual([]);
  });
});
