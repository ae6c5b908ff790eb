/** What keeps every README true: its links lead somewhere, and the files and scripts that it names are there. */
import { describe, expect, test } from "bun:test";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { ExitCode } from "../../actors/node/lifecycle.ts";
import packageJson from "../../package.json";
import {
  anchorsOf,
  isThere,
  linksOf,
  namedFiles,
  namedScripts,
  type Readme,
  ROOT,
  readReadme,
  readReadmes,
} from "./readmes.ts";

const FRONT_PAGE_BYTES = 16 * 1024;
const readmes = readReadmes();

test("the front page has at most 16 KB", () => {
  expect(Buffer.byteLength(readReadme("README.md").text)).toBeLessThanOrEqual(FRONT_PAGE_BYTES);
});

/** The page that a link leads to: a folder shows its README. */
const pageOf = (file: string): string => (file.endsWith(".md") ? file : join(file, "README.md"));

test("every README can be reached by links from the front page", () => {
  const reached = new Set<string>();
  const follow = (path: string): void => {
    if (reached.has(path) || !existsSync(join(ROOT, path))) return;
    reached.add(path);
    for (const { file } of linksOf(readReadme(path))) if (file !== "") follow(pageOf(file));
  };
  follow("README.md");
  expect(readmes.map(({ path }) => path).filter((path) => !reached.has(path))).toEqual([]);
});

describe.each(readmes.map((readme) => [readme.path, readme] as [string, Readme]))("%s", (_, readme) => {
  test("its links lead to files and titles that are there", () => {
    const broken = linksOf(readme).filter(({ file, anchor }) => {
      if (file !== "" && !existsSync(join(ROOT, file))) return true;
      if (anchor === null || (file !== "" && !file.endsWith(".md"))) return false;
      return !anchorsOf(file === "" ? readme : readReadme(file)).includes(anchor);
    });
    expect(broken.map(({ target }) => target)).toEqual([]);
  });

  test("the files and folders of ours that it names are there", () => {
    expect(namedFiles(readme).filter((path) => !isThere(path))).toEqual([]);
  });

  test("the scripts that it tells to run are the package's", () => {
    const scripts = Object.keys(packageJson.scripts);
    expect(namedScripts(readme).filter((name) => !scripts.includes(name))).toEqual([]);
  });
});

test("the readers find what is there: files, links and scripts, and what is not", () => {
  const front = readReadme("README.md");
  expect(namedFiles(front).length).toBeGreaterThan(8);
  expect(linksOf(front).length).toBeGreaterThan(8);
  expect(namedScripts(front)).toContain("dfs");
  const page: Readme = {
    path: "actors/README.md",
    folder: "actors",
    text: "`gone.ts` actors/gone/ [x](gone.md#y) [z](#nowhere)",
  };
  expect(namedFiles(page)).toEqual(["actors/gone/", "gone.ts"]);
  expect(namedFiles(page).filter(isThere)).toEqual([]);
  expect(linksOf(page).map(({ file, anchor }) => [file, anchor])).toEqual([
    ["actors/gone.md", "y"],
    ["", "nowhere"],
  ]);
});

test("actors/README.md has a line for every folder of actors/", () => {
  const folders = (readdirSync(join(ROOT, "actors"), { recursive: true, withFileTypes: true }) ?? [])
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => name);
  const { text } = readReadme("actors/README.md");
  expect(folders.filter((name) => !new RegExp(`^ +${name}/ +\\S`, "m").test(text))).toEqual([]);
});

test("actors/README.md has a row for every exit code of a node", () => {
  const { text } = readReadme("actors/README.md");
  const rows = [...text.matchAll(/^\| (\d+) \| \S/gm)].map(([, code]) => Number(code));
  expect(rows).toEqual([0, ...Object.values(ExitCode)]);
});
