/** The examples of the READMEs run as they are typed, on a cluster of their own. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { copyFileSync, mkdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { outputOf } from "../support/child-output.ts";
import { launch, type SmallCluster, smallCluster } from "../support/launcher.ts";
import { ROOT, readReadmes } from "./readmes.ts";

const examplesOf = (text: string): string[] =>
  [...text.matchAll(/<!-- runs -->\n```sh\n([\s\S]*?)```/g)].map((match) => match[1] as string);
const pages = readReadmes()
  .map(({ path, text }) => [path, examplesOf(text)] as [string, string[]])
  .filter(([, examples]) => examples.length > 0);

/** Codes of refusals that an example is about. */
const MEANT: Record<string, string[]> = { "once.md": ["PRECONDITION_FAILED"] };

describe.skipIf(!Bun.which("curl") || !Bun.which("bash"))("on a cluster of their own", () => {
  let cluster: SmallCluster;
  let launcher: ReturnType<typeof launch>;

  beforeAll(async () => {
    cluster = smallCluster();
    copyFileSync(join(ROOT, "README.md"), join(cluster.files, "README.md"));
    mkdirSync(join(cluster.folder, "state"));
    launcher = launch(cluster);
    await launcher.until("Ctrl-C stops everything");
  });
  afterAll(async () => {
    launcher.child.kill("SIGTERM");
    await launcher.exited;
    cluster.remove();
  });

  async function run(example: string): Promise<{ stdout: string; stderr: string; exitCode: number }> {
    const script = example
      .replaceAll("http://127.0.0.1:8080", cluster.url)
      .replaceAll("npm run -s dfs --", `"${process.execPath}" "${join(ROOT, "gateway/cli/dfs.ts")}"`);
    const shell = Bun.spawn(["bash", "-euo", "pipefail", "-c", `curl() { command curl -sS "$@"; echo; }\n${script}`], {
      cwd: cluster.files,
      env: {
        ...Bun.env,
        DFS_URL: cluster.url,
        XDG_STATE_HOME: join(cluster.folder, "state"),
        no_proxy: "127.0.0.1",
      },
      stdout: "pipe",
      stderr: "pipe",
    });
    return outputOf(shell);
  }

  test.each(pages)("the examples of %s run as typed", async (_, examples) => {
    for (const example of examples) {
      const { stdout, stderr, exitCode } = await run(example);
      expect([example, exitCode, exitCode === 0 ? "" : stderr]).toEqual([example, 0, ""]);
      const refused = new Set([...stdout.matchAll(/"code":"(\w+)"/g)].map((match) => match[1]));
      const meant = Object.entries(MEANT).flatMap(([word, codes]) => (example.includes(word) ? codes : []));
      expect([example, [...refused]]).toEqual([example, meant]);
      if (example.includes("parts.txt")) expect(stdout.trimEnd()).toEndWith("first, second");
    }
  });

  test("the examples of README.md bring back the bytes that they put", () => {
    const sent = readFileSync(join(cluster.files, "README.md"), "utf8");
    expect(readFileSync(join(cluster.files, "copy.md"), "utf8")).toBe(sent);
    expect(readFileSync(join(cluster.files, "here/day one.md"), "utf8")).toBe(sent);
  });
});

test("README.md and gateway/rest/README.md have examples", () => {
  expect(pages.map(([path]) => path)).toEqual(expect.arrayContaining(["README.md", "gateway/rest/README.md"]));
  expect(pages.flatMap(([, examples]) => examples).length).toBeGreaterThanOrEqual(4);
});
