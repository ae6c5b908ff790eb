import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from "bun:test";
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { outputOf } from "../support/child-output.ts";
import { startDfs } from "../support/command-line.ts";
import { type FaultyGateway, startFaultyGateway } from "../support/faulty-gateway.ts";
import { freePorts } from "../support/free-ports.ts";

let gateway: FaultyGateway;
let folder: string;

beforeAll(async () => {
  gateway = await startFaultyGateway();
});
afterAll(() => gateway.stop());
beforeEach(async () => {
  await gateway.clear();
  folder = mkdtempSync(join(tmpdir(), "dfs-cli-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Runs the command line in the temporary folder. */
const dfs = (args: string, { input, url = gateway.url }: { input?: string; url?: string } = {}) => {
  const words = args.split(" ").filter((word) => word !== "");
  return outputOf(startDfs({ url, files: folder, folder }, words, { input }));
};

const write = (name: string, content: string | Uint8Array<ArrayBuffer>): string => {
  const path = join(folder, name);
  mkdirSync(join(path, ".."), { recursive: true });
  writeFileSync(path, content);
  return path;
};
const read = (name: string): string => readFileSync(join(folder, name), "utf8");
const textOf = async (path: string): Promise<string | undefined> => {
  const bytes = await gateway.bytesOf(path);
  return bytes ? new TextDecoder().decode(bytes) : undefined;
};
const seed = (path: string, content: string | Uint8Array<ArrayBuffer>) =>
  fetch(`${gateway.url}/files/${path.split("/").map(encodeURIComponent).join("/")}`, { method: "PUT", body: content });

test("a file is put and read back, to a file and to standard output", async () => {
  write("notes.txt", "hello");
  expect((await dfs("put notes.txt docs/notes.txt")).exitCode).toBe(0);
  expect(await textOf("docs/notes.txt")).toBe("hello");
  expect((await dfs("get docs/notes.txt -")).stdout).toBe("hello");
  expect((await dfs("get docs/notes.txt copy.txt")).exitCode).toBe(0);
  expect(read("copy.txt")).toBe("hello");
});

test("standard input becomes a file", async () => {
  expect((await dfs("put - piped/x", { input: "from a pipe" })).exitCode).toBe(0);
  expect(await textOf("piped/x")).toBe("from a pipe");
  expect((await dfs("put -", { input: "x" })).exitCode).toBe(2);
});

test("a directory goes up and comes down whole, without being told that it is one", async () => {
  write("photos/a.jpg", "a");
  write("photos/deep/er/b c.jpg", "b");
  mkdirSync(join(folder, "photos/empty"));
  symlinkSync("nowhere", join(folder, "photos/dangling"));
  const put = await dfs("put photos backup/");
  expect(put.exitCode).toBe(0);
  expect(put.stderr).toContain("Left out: photos/dangling (dangling link)");
  expect(await gateway.paths()).toEqual(["backup/photos/a.jpg", "backup/photos/deep/er/b c.jpg"]);
  expect((await dfs("get backup/photos again")).exitCode).toBe(0);
  expect([read("again/a.jpg"), read("again/deep/er/b c.jpg")]).toEqual(["a", "b"]);
});

test("several sources go into a directory, and one that is missing stops nothing before it starts", async () => {
  write("a", "1");
  write("b", "2");
  expect((await dfs("put a b into")).exitCode).toBe(0);
  expect([await textOf("into/a"), await textOf("into/b")]).toEqual(["1", "2"]);
  await gateway.clear();
  const missing = await dfs("put a nosuch into");
  expect([missing.exitCode, await gateway.paths()]).toEqual([3, []]);
  expect(missing.stderr).toContain("no local file");
});

test("an interrupted put of a large file goes on where it stopped when the same command is typed again", async () => {
  const bytes = crypto.getRandomValues(new Uint8Array(65536));
  const content = Buffer.concat(Array.from({ length: 300 }, () => bytes));
  const path = write("large.bin", content);
  utimesSync(path, 1_700_000_000, 1_700_000_000);
  gateway.faults.cutPatchAfter = 5 << 20;
  // The cut, and then nothing but refusals: the first command has to give up.
  const refusals = Array.from({ length: 20 }, () => "NO_LEADER" as const);
  const first = dfs("put large.bin");
  while (!gateway.requests.some((line) => line.startsWith("PATCH"))) await Bun.sleep(5);
  gateway.faults.refuse = refusals;
  expect((await first).exitCode).toBe(4);
  gateway.faults.refuse = [];
  const [, id] = /^PATCH \/uploads\/(\d+)$/.exec(gateway.requests.find((line) => line.startsWith("PATCH")) ?? "") ?? [];
  expect((await gateway.data.transfers.uploadStatus(Number(id))).offset).toBeGreaterThan(0);
  gateway.requests.length = 0;
  expect((await dfs("put large.bin")).exitCode).toBe(0);
  expect(gateway.requests).not.toContain("POST /uploads");
  expect(Buffer.compare((await gateway.bytesOf("large.bin")) ?? new Uint8Array(), content)).toBe(0);
});

test("an interrupted get goes on from its .part file, and only on the same version", async () => {
  const content = crypto.getRandomValues(new Uint8Array(60_000));
  await seed("big", content);
  const { promise, resolve: cut } = Promise.withResolvers<void>();
  Object.assign(gateway.faults, { cutGetAfter: 20_000, cutWhen: promise });
  const first = dfs("get big");
  const part = join(folder, "big.part");
  while (statSync(part, { throwIfNoEntry: false })?.size !== 20_000) await Bun.sleep(2);
  cut();
  gateway.faults.refuse = Array.from({ length: 20 }, () => "NO_LEADER" as const);
  expect((await first).exitCode).toBe(4);
  gateway.faults.refuse = [];
  expect(statSync(part).size).toBe(20_000);
  expect((await dfs("get big")).exitCode).toBe(0);
  expect(Buffer.compare(readFileSync(join(folder, "big")), content)).toBe(0);

  writeFileSync(join(folder, "big.part"), "rest of something else");
  expect((await dfs("get big")).exitCode).toBe(0);
  expect(Buffer.compare(readFileSync(join(folder, "big")), content)).toBe(0);
});

test("damage on the way leaves no file behind", async () => {
  await seed("x", "content");
  gateway.faults.damageGet = true;
  const got = await dfs("get x");
  expect([got.exitCode, await Bun.file(join(folder, "x")).exists()]).toEqual([1, false]);
  expect(got.stderr).toContain("CRC-32");
});

test("names from a listing never lead out of the target directory", async () => {
  await seed("evil/link/escaped", "x");
  await seed("evil/fine", "fine");
  mkdirSync(join(folder, "into/sub"), { recursive: true });
  mkdirSync(join(folder, "outside"));
  symlinkSync(join(folder, "outside"), join(folder, "into/sub/link"));
  gateway.faults.listAlso = ["evil/../../escaped", "evil//etc/escaped"];
  const got = await dfs("get evil into/sub/");
  expect(got.exitCode).toBe(1);
  expect(got.stderr).toContain("leads out of the target directory");
  const into = await dfs("get evil/link/escaped into/sub/link/");
  expect(into.exitCode).toBe(0);
  expect(read("into/sub/evil/fine")).toBe("fine");
  const found = [...new Bun.Glob("**/*escaped*").scanSync({ cwd: folder, followSymlinks: false })].sort();
  expect(found).toEqual(["into/sub/evil/link/escaped", "outside/escaped"]);
});

test("a link inside the target directory is no way out of it", async () => {
  await seed("tree/link/file", "x");
  mkdirSync(join(folder, "tree"));
  mkdirSync(join(folder, "outside"));
  symlinkSync(join(folder, "outside"), join(folder, "tree/link"));
  const got = await dfs("get tree");
  expect([got.exitCode, await Bun.file(join(folder, "outside/file")).exists()]).toEqual([1, false]);
});

test("ls shows names, sizes and, with -r, all below; control characters cannot steer the terminal", async () => {
  await seed("a/one", "12345");
  await seed("a/b/two", "x".repeat(2048));
  await seed("a/\u001b[2Jthree", "3");
  expect((await dfs("ls")).stdout).toBe("a/\n");
  expect((await dfs("ls /a/ -r")).stdout).toBe("a/\\u{1b}[2Jthree\na/b/two\na/one\n");
  expect((await dfs("ls -l a/one")).stdout).toMatch(/^ +5 B {2}\d{4}-\d\d-\d\d \d\d:\d\d {2}a\/one\n$/);
  expect((await dfs("ls -l -r a/b")).stdout).toContain("2.00 KiB");
});

test("--json gives one document per line, errors included", async () => {
  await seed("a/one", "12345");
  write("up", "up");
  expect(JSON.parse((await dfs("ls a --json")).stdout)).toMatchObject({ path: "a/one", kind: "file", size: 5 });
  expect(JSON.parse((await dfs("put up --json")).stdout)).toMatchObject({ path: "up", source: "up", size: 2 });
  expect(JSON.parse((await dfs("--json stat a/one")).stdout)).toMatchObject({ size: 5, crc32: "cbf53a1c" });
  expect(JSON.parse((await dfs("status --json")).stdout)).toMatchObject({ verdict: { level: "ok" } });
  expect(JSON.parse((await dfs("explain a/one --json")).stdout).chunks).toHaveLength(1);
  const missing = await dfs("stat nowhere --json");
  expect([missing.exitCode, JSON.parse(missing.stdout).error.code, missing.stderr]).toEqual([3, "NO_SUCH_FILE", ""]);
});

test("a typing mistake gets the name that was meant", async () => {
  await seed("reports/march.csv", "x");
  const got = await dfs("get reports/marhc.csv");
  expect([got.exitCode, got.stderr]).toEqual([
    3,
    'There is no "reports/marhc.csv" in the cluster.\n  Did you mean reports/march.csv?\n',
  ]);
  expect((await dfs("lss")).stderr).toContain("Did you mean ls?");
});

test("mv and cp go into directories, and replace nothing unless forced", async () => {
  await seed("a", "A");
  await seed("d/b", "B");
  expect((await dfs("cp a d")).exitCode).toBe(0);
  expect(await textOf("d/a")).toBe("A");
  const refused = await dfs("mv a d/b");
  expect([refused.exitCode, await textOf("d/b")]).toEqual([5, "B"]);
  expect(refused.stderr).toContain("dfs mv --force a d/b");
  expect((await dfs("mv --force a d/b")).exitCode).toBe(0);
  expect([await textOf("d/b"), await textOf("a")]).toEqual(["A", undefined]);
});

test("rm removes a directory only with -r, and says how", async () => {
  await seed("d/a", "A");
  const refused = await dfs("rm d/");
  expect([refused.exitCode, refused.stderr.includes("dfs rm -r d")]).toEqual([5, true]);
  expect((await dfs("rm -r d")).exitCode).toBe(0);
  expect(await gateway.paths()).toEqual([]);
  expect((await dfs("rm d")).exitCode).toBe(3);
  expect((await dfs("rm -f d")).exitCode).toBe(0);
});

test("one of several failing is exit code 1, and the others are done", async () => {
  await seed("a", "A");
  await seed("b", "B");
  mkdirSync(join(folder, "out/a"), { recursive: true });
  const got = await dfs("get a b out");
  expect([got.exitCode, read("out/b")]).toEqual([5, "B"]);
  expect((await dfs("get a nosuch b here/")).exitCode).toBe(1);
  expect([read("here/a"), read("here/b")]).toEqual(["A", "B"]);
});

test("put --no-clobber replaces nothing", async () => {
  await seed("a", "old");
  write("a", "new");
  expect((await dfs("put -n a")).exitCode).toBe(5);
  expect(await textOf("a")).toBe("old");
});

test("without a cluster every command says how to start one, with exit code 4", async () => {
  const commands = ["ls", "status", "get a", "top --once"];
  const results = await Promise.all(
    commands.map((command) => dfs(command, { url: `http://127.0.0.1:${freePorts(1)[0]}` })),
  );
  for (const { exitCode, stdout, stderr } of results) {
    expect(exitCode).toBe(4);
    expect(stdout + stderr).toContain("npm start");
  }
});

test("wrong usage is exit code 2 and names what is right", async () => {
  for (const command of ["", "put", "ls --frobnicate", "put a b -p 0", "worker explode worker-1", "mv a", "rm /"])
    expect([command, (await dfs(command)).exitCode]).toEqual([command, 2]);
});

test("worker orders reach the cluster, and an unknown worker gets the list of those there are", async () => {
  expect((await dfs("worker drain worker-2")).exitCode).toBe(0);
  expect((await gateway.data.operations.clusterState()).workers[1]?.mode).toBe("draining");
  const unknown = await dfs("worker drain worker-9");
  expect([unknown.exitCode, unknown.stderr.includes("worker-1, worker-2, worker-3")]).toEqual([3, true]);
  await dfs("worker activate worker-2");
});
