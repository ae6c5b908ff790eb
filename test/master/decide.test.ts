/** What each command does to the metadata, on real SQLite in memory. */
import { describe, expect, test } from "bun:test";
import type { Command, CommandOf, FileInfo, ValueOf } from "../../actors/messages/commands.ts";
import { decode, encode } from "../../actors/node/http/wire.ts";
import { keptHeaders, saidHeaders } from "../../actors/rules/file-headers.ts";
import { copies } from "../../actors/rules/redundancy/scheme.ts";
import { MetadataHarness } from "../support/metadata-harness.ts";

const anywhere = { overwrite: false, condition: {} };

describe("create and replace", () => {
  test("a file appears with all its directories, and its chunks are where the writer put them", () => {
    const dfs = new MetadataHarness();
    const { file, created } = dfs.accept<{ file: FileInfo; created: boolean }>(dfs.put("a/b/c.txt"));
    expect(created).toBe(true);
    expect(file).toMatchObject({ path: "a/b/c.txt", sizeBytes: 10, chunkCount: 1 });
    expect(dfs.queries.locate("a/b/c.txt", 0, 10).chunks[0]?.workerIds).toEqual(["w1", "w2", "w3"]);
  });

  test("replacing frees the old chunks and gives another etag, even for the same bytes", () => {
    const dfs = new MetadataHarness();
    const first = dfs.accept<{ file: FileInfo }>(dfs.put("f"));
    const second = dfs.accept<{ file: FileInfo; created: boolean }>(dfs.put("f"));
    expect(second.created).toBe(false);
    expect(second.file.etag).not.toBe(first.file.etag);
    expect(second.file.createdAt).toBe(first.file.createdAt);
    expect(dfs.queries.garbageOf("w1", dfs.logTime, 10)).toHaveLength(1);
    expect(dfs.violations()).toEqual([]);
  });

  test("create-only is refused when the file exists; if-match only replaces that version", () => {
    const dfs = new MetadataHarness();
    const { file } = dfs.accept<{ file: FileInfo }>(dfs.put("f"));
    expect(dfs.refusal(dfs.put("f", undefined, { condition: { ifNoneMatchAny: true } }))).toBe("PRECONDITION_FAILED");
    expect(dfs.refusal(dfs.put("f", undefined, { condition: { ifMatch: ["other"] } }))).toBe("PRECONDITION_FAILED");
    expect(dfs.refusal(dfs.put("g", undefined, { condition: { ifMatch: ["*"] } }))).toBe("PRECONDITION_FAILED");
    dfs.accept(dfs.put("f", undefined, { condition: { ifMatch: [file.etag] } }));
  });

  test("a refused command changes nothing", () => {
    const dfs = new MetadataHarness();
    dfs.accept(dfs.put("dir/f"));
    const chunk = dfs.chunk();
    const before = ["entries", "chunks", "file_chunks", "replica_sets", "garbage"].map((table) => dfs.count(table));
    expect(dfs.refusal(dfs.put("dir", [chunk]))).toBe("IS_A_DIRECTORY");
    expect(dfs.refusal(dfs.put("dir/f/below", [chunk]))).toBe("NOT_A_DIRECTORY");
    expect(dfs.refusal(dfs.put("x//y", [chunk]))).toBe("INVALID_PATH");
    expect(dfs.refusal(dfs.put("x", [chunk], { sizeBytes: 11 }))).toBe("INVALID_BODY");
    expect(["entries", "chunks", "file_chunks", "replica_sets", "garbage"].map((table) => dfs.count(table))).toEqual(
      before,
    );
  });
});

describe("what comes back in headers", () => {
  const said = {
    headers: { contentEncoding: "gzip" },
    metadata: new Map([
      ["owner", "größe"],
      ["__proto__", "p"],
    ]),
  };
  const userMetadata = keptHeaders(said.headers, said.metadata);

  test("F6, F9. an entry keeps it through the log's own encoding, a copy, a rename and an upload, at any cluster version", () => {
    const dfs = new MetadataHarness();
    const throughTheLog = <C extends Command>(command: C) => dfs.accept(decode(encode(command)) as C);
    throughTheLog(dfs.put("d/a", [], { userMetadata }));
    throughTheLog({ type: "COPY_PATH", from: "d", to: "e", ...anywhere });
    throughTheLog({ type: "RENAME_PATH", from: "e/a", to: "b", ...anywhere });
    const {
      chunks: _,
      sizeBytes: __,
      crc32: ___,
      ...file
    } = dfs.put("c", [], { userMetadata }) as CommandOf<"PUT_FILE">;
    const order = { ...file, type: "OPEN_UPLOAD", chunkSizeBytes: 1, leaseMs: 60_000 } as const;
    const { uploadId } = dfs.accept<{ uploadId: number }>(decode(encode(order)) as CommandOf<"OPEN_UPLOAD">);
    dfs.accept({ type: "COMMIT_UPLOAD", uploadId, sizeBytes: 0, crc32: null, sha256: null });
    for (const path of ["d/a", "b", "c"]) {
      const entry = decode(encode(dfs.queries.stat(path))) as FileInfo;
      expect([path, saidHeaders(entry.userMetadata)]).toEqual([path, said]);
    }
  });

  test("S7. from version 3 on, what cannot travel in a header is refused; logs of before are replayed as they were", () => {
    const bad: Partial<CommandOf<"PUT_FILE">>[] = [
      { contentType: "text/pl\u00e9in\u0001" },
      { contentType: "nonsense" },
      { userMetadata: { a: "b\r\nX: y" } },
      { userMetadata: { a: "\0" } },
      { userMetadata: { a: " edge" } },
      { userMetadata: { "Content-Encoding": "\n" } },
      { userMetadata: { Unknown: "x" } },
      { userMetadata: { "a b": "x" } },
      { userMetadata: { a: "x".repeat(2049) } },
      { userMetadata: Object.fromEntries(Array.from({ length: 40 }, (_, n) => [`a${n}`, "x".repeat(2000)])) },
    ];
    const upload = (more: Partial<CommandOf<"PUT_FILE">>): CommandOf<"OPEN_UPLOAD"> => {
      const { chunks: _, sizeBytes: __, crc32: ___, ...file } = dfs.put("u", [], more) as CommandOf<"PUT_FILE">;
      return { ...file, type: "OPEN_UPLOAD", chunkSizeBytes: 1, leaseMs: 60_000 };
    };
    const dfs = new MetadataHarness();
    for (const [n, more] of bad.entries()) dfs.accept(dfs.put(`old/${n}`, [], more));
    const { uploadId } = dfs.accept<{ uploadId: number }>(upload(bad[2] ?? {}));
    dfs.accept({ type: "SET_CLUSTER_VERSION", version: 3 });
    for (const more of bad) {
      expect([more, dfs.refusal(dfs.put("new", [], more))]).toEqual([more, "INVALID_HEADER"]);
      expect([more, dfs.refusal(upload(more))]).toEqual([more, "INVALID_HEADER"]);
    }
    dfs.accept({ type: "COMMIT_UPLOAD", uploadId, sizeBytes: 0, crc32: null, sha256: null });
    dfs.accept({ type: "COPY_PATH", from: "old", to: "copies", ...anywhere });
    dfs.accept(dfs.put("new", [], { userMetadata }));
    expect(dfs.paths({ prefix: "copies/" })).toHaveLength(bad.length);
  });
});

describe("chunks", () => {
  test("a chunk without a live grant is refused, for it may have been collected", () => {
    const dfs = new MetadataHarness();
    const late = dfs.chunk();
    dfs.logTime = 60_000;
    expect(dfs.refusal(dfs.put("f", [late]))).toBe("GRANT_EXPIRED");
    const closed = dfs.chunk();
    dfs.accept({ type: "CLOSE_GRANTS", grantIds: [closed.chunkId] });
    expect(dfs.refusal(dfs.put("f", [closed]))).toBe("GRANT_EXPIRED");
    expect(dfs.refusal(dfs.put("f", [{ ...dfs.chunk(), chunkId: 9999 }]))).toBe("GRANT_EXPIRED");
  });

  test("a renewed grant lives on", () => {
    const dfs = new MetadataHarness();
    const chunk = dfs.chunk();
    dfs.logTime = 50_000;
    dfs.accept({ type: "RENEW_GRANTS", grantIds: [chunk.chunkId], leaseMs: 60_000 });
    dfs.logTime = 100_000;
    dfs.accept(dfs.put("f", [chunk]));
  });

  test("43. no chunk is committed twice, and no id is given out twice", () => {
    const dfs = new MetadataHarness();
    const chunk = dfs.chunk();
    dfs.accept(dfs.put("f", [chunk]));
    expect(dfs.refusal(dfs.put("g", [chunk]))).toBe("CHUNK_ALREADY_COMMITTED");
    expect(dfs.refusal(dfs.put("g", [dfs.chunk(), chunk]))).toBe("CHUNK_ALREADY_COMMITTED");
    dfs.accept({ type: "DELETE_PATH", path: "f", recursive: false, condition: {} });
    expect(dfs.grant(5)).toBeGreaterThan(chunk.chunkId);
  });

  test("fewer known workers than minReplicas is no commit", () => {
    const dfs = new MetadataHarness();
    expect(dfs.refusal(dfs.put("f", [dfs.chunk(["w1"])]))).toBe("TOO_FEW_REPLICAS");
    expect(dfs.refusal(dfs.put("f", [dfs.chunk(["w1", "w1"])]))).toBe("TOO_FEW_REPLICAS");
    expect(dfs.refusal(dfs.put("f", [dfs.chunk(["w1", "stranger"])]))).toBe("TOO_FEW_REPLICAS");
  });

  test("thousands of chunks on the same workers are one replica set", () => {
    const dfs = new MetadataHarness();
    const first = dfs.grant(500);
    for (let n = 0; n < 500; n++)
      dfs.accept(dfs.put(`f${n}`, [{ chunkId: first + n, lengthBytes: 1, crc32: 1, workerIds: ["w3", "w1", "w2"] }]));
    expect(dfs.queries.replicaSets()).toEqual([
      { id: 1, scheme: copies(3), workers: ["w1", "w2", "w3"], chunkCount: 500 },
    ]);
  });
});

describe("delete", () => {
  test("a directory needs recursive, leaves the namespace at once and its chunks in slices", () => {
    const dfs = new MetadataHarness();
    for (let n = 0; n < 300; n++) dfs.accept(dfs.put(`d/${n % 7}/f${n}`));
    expect(dfs.refusal({ type: "DELETE_PATH", path: "d", recursive: false, condition: {} })).toBe(
      "DIRECTORY_NOT_EMPTY",
    );
    dfs.accept({ type: "DELETE_PATH", path: "d", recursive: true, condition: {} });
    expect(dfs.paths()).toEqual([]);
    dfs.reapAll();
    expect(dfs.count("chunks")).toBe(0);
    expect(dfs.count("garbage")).toBe(900);
    expect(dfs.metadata.row("totals", {})).toMatchObject({ files: 0, directories: 0, bytes: 0 });
  });

  test("a file of many chunks is freed in slices too", () => {
    const dfs = new MetadataHarness();
    const first = dfs.grant(600);
    const chunks = Array.from({ length: 600 }, (_, n) => ({ ...dfs.chunk(), chunkId: first + n }));
    dfs.accept(dfs.put("big", chunks));
    dfs.accept({ type: "DELETE_PATH", path: "big", recursive: false, condition: {} });
    dfs.reapAll();
    expect([dfs.count("chunks"), dfs.count("file_chunks"), dfs.count("garbage")]).toEqual([0, 0, 1800]);
  });

  test("two copies of one chunk in one reaped directory free it once", () => {
    const dfs = new MetadataHarness();
    dfs.accept(dfs.put("d/a"));
    dfs.accept({ type: "COPY_PATH", from: "d/a", to: "d/b", ...anywhere });
    dfs.accept({ type: "DELETE_PATH", path: "d", recursive: true, condition: {} });
    dfs.reapAll();
    expect([dfs.count("chunks"), dfs.count("garbage")]).toEqual([0, 3]);
    expect(dfs.violations()).toEqual([]);
  });

  test("A7. a path with half a character is refused wherever it stands, for all such would be one name on disk", () => {
    const dfs = new MetadataHarness();
    dfs.accept(dfs.put("f"));
    for (const path of ["\ud83d", "a/\udc00/b", "pair \udc00\ud83d"]) {
      const commands: Command[] = [
        dfs.put(path, []),
        { type: "MAKE_DIRECTORY", path },
        { type: "RENAME_PATH", from: "f", to: path, ...anywhere },
        { type: "COPY_PATH", from: "f", to: path, ...anywhere },
        { type: "DELETE_PATH", path, recursive: true, condition: {} },
      ];
      for (const command of commands) expect([command, dfs.refusal(command)]).toEqual([command, "INVALID_PATH"]);
    }
    dfs.accept(dfs.put("whole \u{1f600}", []));
    expect(dfs.paths()).toEqual(["f", "whole \u{1f600}"]);
  });

  test("what is not there cannot be deleted", () => {
    const dfs = new MetadataHarness();
    expect(dfs.refusal({ type: "DELETE_PATH", path: "nothing", recursive: true, condition: {} })).toBe("NO_SUCH_FILE");
  });
});

describe("rename and copy", () => {
  test("a directory moves with everything in it, in one row", () => {
    const dfs = new MetadataHarness();
    dfs.accept(dfs.put("a/b/f"));
    dfs.accept({ type: "RENAME_PATH", from: "a", to: "x/y", ...anywhere });
    expect(dfs.paths()).toEqual(["x/y/b/f"]);
    expect(dfs.count("entries")).toBe(4);
  });

  test("a directory cannot move or be copied below itself", () => {
    const dfs = new MetadataHarness();
    dfs.accept(dfs.put("a/b/f"));
    expect(dfs.refusal({ type: "RENAME_PATH", from: "a", to: "a/b/c", ...anywhere })).toBe("RENAME_INTO_ITSELF");
    expect(dfs.refusal({ type: "COPY_PATH", from: "a", to: "a/c", ...anywhere })).toBe("RENAME_INTO_ITSELF");
  });

  test("a file replaces a file only when told to, and never a directory", () => {
    const dfs = new MetadataHarness();
    dfs.accept(dfs.put("f"));
    dfs.accept(dfs.put("g"));
    dfs.accept(dfs.put("d/h"));
    expect(dfs.refusal({ type: "RENAME_PATH", from: "f", to: "g", ...anywhere })).toBe("ALREADY_EXISTS");
    expect(dfs.refusal({ type: "RENAME_PATH", from: "f", to: "d", overwrite: true, condition: {} })).toBe(
      "IS_A_DIRECTORY",
    );
    dfs.accept({ type: "RENAME_PATH", from: "f", to: "g", overwrite: true, condition: {} });
    expect(dfs.paths()).toEqual(["d/h", "g"]);
    expect(dfs.violations()).toEqual([]);
  });

  test("F12. a rename onto itself changes nothing, if its condition holds; a copy onto itself is refused", () => {
    const dfs = new MetadataHarness();
    const { file } = dfs.accept<{ file: FileInfo }>(dfs.put("d/f"));
    const onto = (path: string, ifMatch?: string[]): Command => {
      const condition = ifMatch ? { ifMatch } : {};
      return { type: "RENAME_PATH", from: path, to: path, overwrite: false, condition };
    };
    for (const command of [onto("d/f"), onto("d/f", [file.etag])])
      expect(dfs.accept<object>(command)).toEqual({ entry: file, replaced: false });
    expect(dfs.accept<object>(onto("d"))).toMatchObject({ entry: { kind: "directory", path: "d" }, replaced: false });
    expect(dfs.refusal(onto("d/f", ["other"]))).toBe("PRECONDITION_FAILED");
    expect(dfs.refusal(onto("none"))).toBe("NO_SUCH_FILE");
    for (const path of ["d/f", "d"])
      for (const overwrite of [false, true])
        expect(dfs.refusal({ type: "COPY_PATH", from: path, to: path, overwrite, condition: {} })).toBe(
          "ALREADY_EXISTS",
        );
    expect(dfs.queries.stat("d/f")).toEqual(file);
    expect(dfs.violations()).toEqual([]);
  });

  test("a condition on a rename or copy is one on what moves, not on what is replaced", () => {
    const dfs = new MetadataHarness();
    const { file } = dfs.accept(dfs.put("f")) as ValueOf<"PUT_FILE">;
    dfs.accept(dfs.put("g"));
    const condition = { ifMatch: [file.etag] };
    for (const type of ["COPY_PATH", "RENAME_PATH"] as const) {
      dfs.accept({ type, from: "f", to: `new ${type}`, overwrite: false, condition });
      expect(dfs.refusal({ type, from: "g", to: `new ${type}`, overwrite: true, condition })).toBe(
        "PRECONDITION_FAILED",
      );
    }
    expect(dfs.paths()).toEqual(["g", "new COPY_PATH", "new RENAME_PATH"]);
  });

  test("a copy shares chunks, and they live until the last of the two is gone", () => {
    const dfs = new MetadataHarness();
    dfs.accept(dfs.put("f"));
    dfs.accept({ type: "COPY_PATH", from: "f", to: "g", ...anywhere });
    expect(dfs.count("chunks")).toBe(1);
    dfs.accept({ type: "DELETE_PATH", path: "f", recursive: false, condition: {} });
    expect([dfs.count("chunks"), dfs.count("garbage")]).toEqual([1, 0]);
    dfs.accept({ type: "DELETE_PATH", path: "g", recursive: false, condition: {} });
    expect([dfs.count("chunks"), dfs.count("garbage")]).toEqual([0, 3]);
  });

  test("a directory copy of more than 1000 entries is refused whole", () => {
    const dfs = new MetadataHarness();
    for (let n = 0; n < 1001; n++) dfs.accept(dfs.put(`d/f${n}`, []));
    expect(dfs.refusal({ type: "COPY_PATH", from: "d", to: "e", ...anywhere })).toBe("TOO_MANY_ENTRIES");
    expect(dfs.paths({ prefix: "e" })).toEqual([]);
  });
});

describe("uploads", () => {
  const open = (dfs: MetadataHarness, path = "up", condition = {}) =>
    dfs.accept<{ uploadId: number }>({
      type: "OPEN_UPLOAD",
      path,
      replicationFactor: 3,
      minReplicas: 2,
      chunkSizeBytes: 10,
      leaseMs: 1000,
      condition,
      contentType: "a/b",
      sha256: null,
      userMetadata: {},
    }).uploadId;
  const stage = (uploadId: number, offset: number, chunks: ReturnType<MetadataHarness["chunk"]>[]) =>
    ({ type: "STAGE_CHUNKS", uploadId, offset, chunks, leaseMs: 1000 }) as const;

  test("nothing is visible until the commit, then all of it", () => {
    const dfs = new MetadataHarness();
    const id = open(dfs);
    dfs.accept(stage(id, 0, [dfs.chunk(), dfs.chunk()]));
    expect(dfs.paths()).toEqual([]);
    const { crc32 } = dfs.metadata.row("upload", { uploadId: id }) as { crc32: number };
    dfs.accept({ type: "COMMIT_UPLOAD", uploadId: id, sizeBytes: 20, crc32, sha256: null });
    expect(dfs.queries.stat("up")).toMatchObject({ sizeBytes: 20, chunkCount: 2, crc32 });
    expect(dfs.violations()).toEqual([]);
  });

  test("chunks go on only where the upload stands, and a wrong size or checksum commits nothing", () => {
    const dfs = new MetadataHarness();
    const id = open(dfs);
    dfs.accept(stage(id, 0, [dfs.chunk()]));
    expect(dfs.refusal(stage(id, 0, [dfs.chunk()]))).toBe("UPLOAD_OFFSET_MISMATCH");
    expect(dfs.refusal({ type: "COMMIT_UPLOAD", uploadId: id, sizeBytes: 20, crc32: 7, sha256: null })).toBe(
      "UPLOAD_OFFSET_MISMATCH",
    );
    expect(dfs.refusal({ type: "COMMIT_UPLOAD", uploadId: id, sizeBytes: 10, crc32: 8, sha256: null })).toBe(
      "DIGEST_MISMATCH",
    );
  });

  test("54. abort and expiry of an upload free its staged chunks; a later command finds no upload", () => {
    const dfs = new MetadataHarness();
    const aborted = open(dfs);
    dfs.accept(stage(aborted, 0, [dfs.chunk()]));
    dfs.accept({ type: "ABORT_UPLOAD", uploadId: aborted });
    dfs.accept({ type: "ABORT_UPLOAD", uploadId: aborted });
    expect(dfs.refusal({ type: "COMMIT_UPLOAD", uploadId: aborted, sizeBytes: 10, crc32: 7, sha256: null })).toBe(
      "NO_SUCH_UPLOAD",
    );
    const expired = open(dfs);
    dfs.accept(stage(expired, 0, [dfs.chunk()]));
    dfs.logTime += 1000;
    expect(dfs.refusal(stage(expired, 10, [dfs.chunk()]))).toBe("NO_SUCH_UPLOAD");
    dfs.accept({ type: "EXPIRE", sessionIdleMs: 1e9 });
    expect([dfs.count("chunks"), dfs.count("uploads")]).toEqual([0, 0]);
  });

  test("57. the condition of an upload counts at its commit: of two create-only uploads, one wins", () => {
    const dfs = new MetadataHarness();
    const [a, b] = [open(dfs, "f", { ifNoneMatchAny: true }), open(dfs, "f", { ifNoneMatchAny: true })];
    dfs.accept({ type: "COMMIT_UPLOAD", uploadId: a, sizeBytes: 0, crc32: 0, sha256: null });
    expect(dfs.refusal({ type: "COMMIT_UPLOAD", uploadId: b, sizeBytes: 0, crc32: 0, sha256: null })).toBe(
      "PRECONDITION_FAILED",
    );
  });
});

describe("workers and copies", () => {
  const workersOf = (dfs: MetadataHarness, path: string) => dfs.queries.locate(path, 0, 1).chunks[0]?.workerIds;

  test("copies are added, marked bad and forgotten one by one", () => {
    const dfs = new MetadataHarness();
    const chunk = dfs.chunk(["w1", "w2"]);
    dfs.accept(dfs.put("f", [chunk]));
    const replica = { chunkId: chunk.chunkId, reason: "test" };
    dfs.accept({
      type: "ADD_REPLICAS",
      replicas: [
        { ...replica, workerId: "w4" },
        { ...replica, workerId: "w4" },
      ],
    });
    expect(workersOf(dfs, "f")).toEqual(["w1", "w2", "w4"]);
    dfs.accept({ type: "MARK_REPLICAS", replicas: [{ chunkId: chunk.chunkId, workerId: "w1", state: "corrupt" }] });
    expect(workersOf(dfs, "f")).toEqual(["w2", "w4"]);
    expect(dfs.queries.faultsOf(chunk.chunkId)).toEqual([{ workerId: "w1", state: "corrupt" }]);
    dfs.accept({ type: "ADD_REPLICAS", replicas: [{ ...replica, workerId: "w5" }] });
    expect(dfs.queries.faultsOf(chunk.chunkId)).toEqual([]);
    expect(dfs.violations()).toEqual([]);
  });

  test("38. a worker with another disk has lost all its copies at once", () => {
    const dfs = new MetadataHarness();
    for (let n = 0; n < 20; n++) dfs.accept(dfs.put(`f${n}`, [dfs.chunk(["w1", `w${2 + (n % 3)}`])]));
    dfs.accept({
      type: "REGISTER_WORKER",
      workerId: "w1",
      url: "http://127.0.0.1:1",
      zone: "z",
      incarnation: "new-disk",
      capacityBytes: 1,
    });
    expect(dfs.queries.replicaSets().every(({ workers }) => !workers.includes("w1"))).toBe(true);
    expect(dfs.violations()).toEqual([]);
  });

  test("64. an extra copy is dropped only while enough other live ones are proven", () => {
    const dfs = new MetadataHarness();
    const chunk = dfs.chunk(["w1", "w2", "w3", "w4"]);
    dfs.accept(dfs.put("f", [chunk]));
    const drop = (keep: string[]) =>
      ({ type: "DROP_REPLICA", term: 1, chunkId: chunk.chunkId, workerId: "w1", keep }) as const;
    expect(dfs.refusal(drop(["w2", "w3"]))).toBe("TOO_FEW_REPLICAS");
    expect(dfs.refusal(drop(["w1", "w2", "w3"]))).toBe("TOO_FEW_REPLICAS");
    expect(dfs.refusal(drop(["w2", "w3", "w5"]))).toBe("TOO_FEW_REPLICAS");
    dfs.accept({ type: "SET_WORKER_LIVENESS", workerId: "w4", liveness: "dead" });
    expect(dfs.refusal(drop(["w2", "w3", "w4"]))).toBe("TOO_FEW_REPLICAS");
    dfs.accept({ type: "SET_WORKER_LIVENESS", workerId: "w4", liveness: "live" });
    dfs.accept(drop(["w2", "w3", "w4"]));
    expect(workersOf(dfs, "f")).toEqual(["w2", "w3", "w4"]);
    expect(dfs.queries.garbageOf("w1", 0, 10)).toEqual([chunk.chunkId]);
  });

  test("64b. a copy on its way to the trash does not count as a new one", () => {
    const dfs = new MetadataHarness();
    const chunk = dfs.chunk(["w1", "w2", "w3", "w4"]);
    dfs.accept(dfs.put("f", [chunk]));
    dfs.accept({ type: "DROP_REPLICA", term: 1, chunkId: chunk.chunkId, workerId: "w1", keep: ["w2", "w3", "w4"] });
    const add: Command = {
      type: "ADD_REPLICAS",
      replicas: [{ chunkId: chunk.chunkId, workerId: "w1", reason: "race" }],
    };
    expect(dfs.accept<{ added: number }>(add).added).toBe(0);
    dfs.accept({ type: "FORGET_GARBAGE", items: [{ chunkId: chunk.chunkId, workerId: "w1" }] });
    expect(dfs.accept<{ added: number }>(add).added).toBe(1);
  });

  test("a removed worker holds nothing any more and does not come back with its old disk", () => {
    const dfs = new MetadataHarness();
    dfs.accept(dfs.put("f"));
    dfs.accept({ type: "SET_WORKER_MODE", workerId: "w1", mode: "removed" });
    expect(workersOf(dfs, "f")).toEqual(["w2", "w3"]);
    const back = {
      type: "REGISTER_WORKER",
      workerId: "w1",
      url: "http://127.0.0.1:1",
      zone: "z",
      capacityBytes: 1,
    } as const;
    expect(dfs.refusal({ ...back, incarnation: "first-disk" })).toBe("WRONG_NODE");
    dfs.accept({ ...back, incarnation: "new-disk" });
  });
});
