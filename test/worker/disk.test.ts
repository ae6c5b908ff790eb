import { expect, test } from "bun:test";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Disk } from "../../actors/worker/store/disk.ts";
import { FlushQueue } from "../../actors/worker/store/flush-queue.ts";
import { OpenChunk } from "../../actors/worker/store/open-chunk.ts";
import { DirectorySync } from "../../actors/worker/store/shelves/directory-sync.ts";
import { DirectWrites, PartFile } from "../../actors/worker/store/shelves/part-file.ts";
import { randomBytes, temporaryFolder, until } from "./support.ts";

const buffered = (path: string) => new PartFile(path, new DirectWrites(false));
const failing = (code: string) => Object.assign(new Error(code), { code });

test("a full disk is no broken disk, and a broken one takes nothing until a trial write succeeds", async () => {
  using folder = temporaryFolder();
  mkdirSync(join(folder.path, "parts"));
  const disk = new Disk({ directory: folder.path, reservedBytes: 0 });
  for (const code of ["ENOSPC", "EDQUOT", "SQLITE_FULL"])
    expect(disk.refusal(failing(code))).toMatchObject({ code: "NO_SPACE" });
  expect(disk.space(0).condition).toBe("normal");
  for (const code of ["EIO", "EROFS", "SQLITE_IOERR_FSYNC"]) {
    expect(disk.refusal(failing(code))).toMatchObject({ code: "READ_ONLY" });
    expect(disk.space(0).condition).toBe("readOnly");
    expect(() => disk.admit(0)).toThrow("refuses writes");
    expect(await disk.probe()).toBeTrue();
    expect(disk.space(0).condition).toBe("normal");
  }
  rmSync(join(folder.path, "parts"), { recursive: true });
  expect(await disk.probe()).toBeFalse();
  expect(disk.space(0).condition).toBe("readOnly");
});

test("chunks that begin at the same moment ask the file system once, and the next ask again", async () => {
  let looks = 0;
  let bavail = 1000;
  const disk = new Disk({
    directory: ".",
    reservedBytes: 0,
    statfs: () => {
      looks++;
      return { bsize: 4096, blocks: 1000, bavail, files: 0, ffree: 0 };
    },
  });
  for (let n = 0; n < 20; n++) disk.admit(n);
  expect(looks).toBe(1);
  bavail = 0;
  await Promise.resolve();
  expect(() => disk.admit(0)).toThrow("full");
  expect(looks).toBe(2);
});

test("what is no fault of the disk is passed on as it is", () => {
  const disk = new Disk({ directory: ".", reservedBytes: 0 });
  const bug = new TypeError("a bug");
  expect(disk.refusal(bug)).toBe(bug);
  expect(disk.space(0).condition).toBe("normal");
});

test("F4. an error that no list knows is the disk's, until a trial write has shown that the disk is well", async () => {
  using folder = temporaryFolder();
  mkdirSync(join(folder.path, "parts"));
  const disk = new Disk({ directory: folder.path, reservedBytes: 0 });
  for (const code of [
    "ENOENT",
    "EMFILE",
    "ESTALE",
    "EUCLEAN",
    "ENOTDIR",
    "EISDIR",
    "ENEWTOMORROW",
    "SQLITE_PROTOCOL",
  ]) {
    expect(disk.refusal(failing(code))).toMatchObject({ code: "READ_ONLY" });
    expect(disk.space(0).condition).toBe("readOnly");
    expect(await disk.probe()).toBeTrue();
  }
  for (const code of ["ERR_INVALID_ARG_TYPE", "SQLITE_CONSTRAINT_PRIMARYKEY", "SQLITE_MISUSE"]) {
    const ours = failing(code);
    expect(disk.refusal(ours)).toBe(ours);
    expect(disk.space(0).condition).toBe("normal");
  }
});

test("F4. a damaged index is not mended by a trial write: the worker takes nothing, and says what to do", async () => {
  using folder = temporaryFolder();
  mkdirSync(join(folder.path, "parts"));
  const disk = new Disk({ directory: folder.path, reservedBytes: 0 });
  expect(disk.refusal(failing("SQLITE_CORRUPT"))).toMatchObject({ code: "READ_ONLY" });
  expect(await disk.probe()).toBeFalse();
  expect(disk.space(0).condition).toBe("readOnly");
  expect(disk.failure).toContain("put chunk-index.db aside");
});

test("F4. a disk without inodes is full, whatever bytes it has; one that counts none is not", () => {
  const of = (files: number, ffree: number) =>
    new Disk({
      directory: ".",
      reservedBytes: 0,
      statfs: () => ({ bsize: 4096, blocks: 1000, bavail: 1000, files, ffree }),
    });
  expect(of(100_000, 50_000).space(0)).toMatchObject({ condition: "normal", freeBytes: 4_096_000 });
  expect(of(0, 0).space(0)).toMatchObject({ condition: "normal" });
  expect(of(100_000, 3).space(0)).toMatchObject({ condition: "full", freeBytes: 0 });
  expect(() => of(100_000, 3).admit(0)).toThrow("full");
});

test("free space below the reserve makes a worker full", () => {
  const disk = new Disk({ directory: ".", reservedBytes: Number.MAX_SAFE_INTEGER });
  expect(disk.space(0)).toMatchObject({ freeBytes: 0, condition: "full" });
  expect(() => disk.admit(0)).toThrow("full");
});

test("big chunks are flushed while they are written, and what is left is counted", async () => {
  using folder = temporaryFolder();
  const flushes = new FlushQueue();
  const chunk = new OpenChunk(1, 1 << 20, buffered(join(folder.path, "1.part")), 0);
  const block = randomBytes(1 << 20);
  for (let n = 0; n < 18; n++) {
    chunk.claim(n, block.length);
    flushes.wrote(chunk, await chunk.write(n, block, n));
  }
  await until(() => flushes.unflushedBytes === 2 << 20);
  expect(Bun.peek.status(flushes.room())).toBe("fulfilled");
  await flushes.leave(chunk);
  expect(flushes.unflushedBytes).toBe(0);
  await chunk.part.close();
});

test("too many unflushed bytes make writers wait for a flush", async () => {
  using folder = temporaryFolder();
  const flushes = new FlushQueue();
  const chunks = Array.from(
    { length: 20 },
    (_, n) => new OpenChunk(n + 1, 4096, buffered(join(folder.path, `${n}.part`)), 0),
  );
  for (const chunk of chunks) flushes.wrote(chunk, 8 << 20); // each below the step, all together above the limit
  expect(flushes.unflushedBytes).toBe(160 << 20);
  await flushes.room();
  expect(flushes.unflushedBytes).toBe(152 << 20);
  for (const chunk of chunks) {
    await flushes.leave(chunk);
    await chunk.part.close();
  }
  expect(flushes.unflushedBytes).toBe(0);
});

test("names that arrive while a directory is being flushed share the next flush", async () => {
  using folder = temporaryFolder();
  const directories = new DirectorySync();
  const first = directories.sync(folder.path);
  writeFileSync(join(folder.path, "late"), "");
  const [second, third] = [directories.sync(folder.path), directories.sync(folder.path)];
  expect(second).not.toBe(first);
  expect(third).toBe(second);
  await Promise.all([first, second, third]);
});
