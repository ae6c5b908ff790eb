/** The examples of the client library run as they stand, on a cluster of their own, and print what they say. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { createClient } from "../../gateway/client/client.ts";
import { outputOf } from "../support/child-output.ts";
import { launch, type SmallCluster, smallCluster } from "../support/launcher.ts";

const ROOT = resolve(import.meta.dir, "../..");
const FOLDER = "gateway/client";

interface Example {
  /** File and line, for the title. */
  place: string;
  code: string;
}

const lineOf = (text: string, at: number): number => text.slice(0, at).split("\n").length;

/** Every block of TypeScript in a file: in Markdown, or in its docstrings. */
function examplesIn(file: string): Example[] {
  const text = readFileSync(join(ROOT, FOLDER, file), "utf8");
  return [...text.matchAll(/^( *\* )?```ts\n([\s\S]*?)^(?: *\* )?```$/gm)].map(
    ({ index, 1: margin, 2: block = "" }) => ({
      place: `${FOLDER}/${file}:${lineOf(text, index)}`,
      code: margin ? block.replaceAll(/^ *\* ?/gm, "") : block,
    }),
  );
}

const files = [...new Bun.Glob("*.{ts,md}").scanSync({ cwd: join(ROOT, FOLDER) })].sort();
const examples = files.flatMap(examplesIn);
/** The docstring of `createClient`: the other examples go on from there. */
const beginning = examplesIn("client.ts").find(({ code }) => code.includes("createClient({"))?.code ?? "";

/** A comment behind a call of console.log, or on lines of its own below it, is what it prints. */
const expectedOf = (code: string): string[] =>
  code.split("\n").flatMap((line) => {
    const [, said] = /(?:^|console\.log\(.*; )\/\/ (.*)$/.exec(line) ?? [];
    return said === undefined ? [] : [said];
  });

let cluster: SmallCluster;
let launcher: ReturnType<typeof launch>;
beforeAll(async () => {
  cluster = smallCluster();
  launcher = launch(cluster);
  await launcher.until("Ctrl-C stops everything");
});
afterAll(async () => {
  launcher.child.kill("SIGTERM");
  await launcher.exited;
  cluster.remove();
});

test("every call of a client has an example", () => {
  const calls = Object.keys(createClient({ url: "http://127.0.0.1:8080" })).filter((name) => name !== "url");
  const all = examples.map(({ code }) => code).join("\n");
  expect(calls.filter((call) => !all.includes(`dfs.${call}(`))).toEqual([]);
  expect(beginning).toContain("http://127.0.0.1:8080");
});

for (const { place, code } of examples)
  test(`the example at ${place} prints what it says`, async () => {
    const program = (code.includes("createClient({") ? code : `${beginning}\n${code}`).replaceAll(
      "http://127.0.0.1:8080",
      cluster.url,
    );
    const child = Bun.spawn([process.execPath, "run", "-"], {
      cwd: ROOT,
      stdin: new Blob([program]),
      stdout: "pipe",
      stderr: "pipe",
    });
    const { stdout, stderr, exitCode } = await outputOf(child);
    const printed = stdout.split("\n").filter((line) => line !== "");
    expect({ exitCode, stderr, printed }).toEqual({ exitCode: 0, stderr: "", printed: expectedOf(code) });
  });
