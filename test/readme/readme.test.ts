/** What keeps README.md true: its tables come from the source, what it names is there, and its examples run. */
import { afterAll, expect, test } from "bun:test";
import { copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ErrorCodes } from "../../actors/messages/errors.ts";
import { MasterMailbox } from "../../actors/messages/master.ts";
import { RecordsMailbox } from "../../actors/messages/records.ts";
import { WorkerMailbox } from "../../actors/messages/worker.ts";
import packageJson from "../../package.json";
import { launch, type SmallCluster, smallCluster } from "../support/launcher.ts";
import { configKeys, messagesOf, ROOT, TABLES, withTables } from "./tables.ts";

const path = join(ROOT, "README.md");
if (Bun.env.UPDATE_README) writeFileSync(path, withTables(readFileSync(path, "utf8")));
const readme = readFileSync(path, "utf8");

test("the tables are what the source says (UPDATE_README=1 writes them)", () => {
  expect(readme).toBe(withTables(readme));
});

test("the tables have a row for every key, code and message, and each says something", () => {
  expect(configKeys()).toContain("repair.maxPerWorker");
  for (const code of Object.keys(ErrorCodes).filter((name) => name !== "NOT_MODIFIED"))
    expect(readme).toContain(`| \`${code}\` |`);
  const told = ["master", "worker", "raft", "records"]
    .flatMap((name) => messagesOf(`actors/messages/${name}.ts`))
    .map(({ type }) => type);
  const taken = [MasterMailbox, WorkerMailbox, RecordsMailbox].flatMap((mailbox) => Object.keys(mailbox));
  expect(taken.filter((type) => !told.includes(type))).toEqual([]);
  const empty = Object.values(TABLES).flatMap((table) => table().match(/^.*\|\s*\|$/gm) ?? []);
  expect(empty).toEqual([]);
});

test("every script it tells to run is one", () => {
  const scripts = Object.keys(packageJson.scripts);
  const told = [...readme.matchAll(/\b(?:npm|bun) run (?:-s )?([a-z][\w-]*)/g)].map((match) => match[1] as string);
  expect(told.length).toBeGreaterThan(10);
  expect(told.filter((name) => !scripts.includes(name))).toEqual([]);
  expect(scripts).toContain("start");
});

test("every file and folder of ours that it names is there", () => {
  const named = [...readme.matchAll(/[\s`("]((?:\.\/)?(?:actors|gateway|databases|test)\/[\w./-]*)/g)].map(
    (match) => match[1] as string,
  );
  expect(named.length).toBeGreaterThan(8);
  const atRunTime = /^databases\/./;
  expect(named.filter((name) => !atRunTime.test(name) && !existsSync(join(ROOT, name)))).toEqual([]);
});

test("links within it lead somewhere", () => {
  const anchors = [...readme.matchAll(/^#+ (.+)$/gm)].map(([, title]) =>
    (title as string)
      .toLowerCase()
      .replace(/[^\w\s-]/g, "")
      .replaceAll(" ", "-"),
  );
  const links = [...readme.matchAll(/\]\(#([\w-]+)\)/g)].map((match) => match[1] as string);
  expect(links.filter((link) => !anchors.includes(link))).toEqual([]);
});

let cluster: SmallCluster | undefined;
let launcher: ReturnType<typeof launch> | undefined;
afterAll(async () => {
  launcher?.child.kill("SIGTERM");
  await launcher?.exited;
  cluster?.remove();
});

const examples = [...readme.matchAll(/<!-- runs -->\n```sh\n([\s\S]*?)```/g)].map((match) => match[1] as string);

test.skipIf(!Bun.which("curl") || !Bun.which("bash"))(
  "its examples run as typed, on a cluster of their own",
  async () => {
    expect(examples.length).toBeGreaterThanOrEqual(4);
    cluster = smallCluster();
    copyFileSync(path, join(cluster.files, "README.md"));
    mkdirSync(join(cluster.folder, "state"));
    launcher = launch(cluster);
    await launcher.until("Ctrl-C stops everything");
    for (const example of examples) {
      const script = example
        .replaceAll("http://127.0.0.1:8080", cluster.url)
        .replaceAll("npm run -s dfs --", `"${process.execPath}" "${join(ROOT, "gateway/cli/dfs.ts")}"`);
      const shell = Bun.spawn(
        ["bash", "-euo", "pipefail", "-c", `curl() { command curl -sS "$@"; echo; }\n${script}`],
        {
          cwd: cluster.files,
          env: {
            ...Bun.env,
            DFS_URL: cluster.url,
            XDG_STATE_HOME: join(cluster.folder, "state"),
            no_proxy: "127.0.0.1",
          },
          stdout: "pipe",
          stderr: "pipe",
        },
      );
      const [stdout, stderr, exitCode] = await Promise.all([
        new Response(shell.stdout).text(),
        new Response(shell.stderr).text(),
        shell.exited,
      ]);
      expect([example, exitCode, exitCode === 0 ? "" : stderr]).toEqual([example, 0, ""]);
      const refused = new Set([...stdout.matchAll(/"code":"(\w+)"/g)].map((match) => match[1]));
      expect([...refused]).toEqual(example.includes("once.md") ? ["PRECONDITION_FAILED"] : []);
      if (example.includes("parts.txt")) expect(stdout.trimEnd()).toEndWith("first, second");
    }
    expect(readFileSync(join(cluster.files, "copy.md"), "utf8")).toBe(readme);
    expect(readFileSync(join(cluster.files, "here/day one.md"), "utf8")).toBe(readme);
  },
);
