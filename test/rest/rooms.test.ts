/** The rooms of the gateway: who may import whom, and one meaning for the name of each metric. */
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";

const ROOT = resolve(import.meta.dir, "../..");
const read = (file: string): string => readFileSync(join(ROOT, file), "utf8");
const filesOf = (pattern: string): string[] => [...new Bun.Glob(pattern).scanSync({ cwd: ROOT })].sort();

/** What each room may import of the gateway, beside itself. */
const ALLOWED: Record<string, readonly string[]> = {
  access: [],
  ports: ["access"],
  http: ["access", "ports"],
  nodes: ["access", "ports"],
  transfer: ["access", "ports", "nodes"],
  rest: ["access", "ports", "http"],
  console: ["access", "ports", "http", "client"],
  client: [],
  cli: ["client", "console"],
};

const roomOf = (file: string): string | undefined => /^gateway\/([a-z]+)\//.exec(file)?.[1];

function importsOf(file: string): string[] {
  const specifiers = [...read(file).matchAll(/^(?:import|export)\b[^;"]*?"(\.[^"]+)"/gms)].map(
    ([, path]) => path as string,
  );
  return specifiers.map((specifier) => relative(ROOT, resolve(ROOT, dirname(file), specifier)));
}

test("rooms of the gateway import downwards only, and no door imports another", () => {
  const files = filesOf("gateway/*/**/*.{ts,tsx}");
  expect([...new Set(files.map(roomOf))].sort()).toEqual(Object.keys(ALLOWED).sort());
  const strays = files.flatMap((file) => {
    const room = roomOf(file) as string;
    const isAllowed = (to: string): boolean => {
      const other = roomOf(to);
      return other === undefined ? !to.startsWith("gateway/") : other === room || !!ALLOWED[room]?.includes(other);
    };
    return importsOf(file)
      .filter((to) => !isAllowed(to))
      .map((to) => `${file} → ${to}`);
  });
  expect(strays).toEqual([]);
});

test("a metric's name begins with the role that tells it: one name has one meaning", () => {
  const prefixes: [pattern: string, prefix: RegExp][] = [
    ["gateway/**/*.ts", /^dfs_(gateway|cluster)_/],
    ["actors/master/**/*.ts", /^dfs_master_/],
    ["actors/worker/**/*.ts", /^dfs_worker_/],
  ];
  for (const [pattern, prefix] of prefixes) {
    const names = filesOf(pattern).flatMap((file) => read(file).match(/\bdfs_(?!metadata\b)[a-z]\w*/g) ?? []);
    expect(names.length).toBeGreaterThan(1);
    expect(names.filter((name) => !prefix.test(name))).toEqual([]);
  }
});

test("every file that the gateway's README files name is there, and the rule of imports is the one above", () => {
  const files = filesOf("{actors,gateway,test}/**/*.{ts,tsx}");
  for (const readme of ["gateway/README.md", "gateway/client/README.md"]) {
    const named = [...read(readme).matchAll(/[\w./-]+\.tsx?\b/g)].map(([name]) => name.replace(/^\.\//, ""));
    expect(named.length).toBeGreaterThan(8);
    expect(named.filter((name) => !files.some((file) => `/${file}`.endsWith(`/${name}`)))).toEqual([]);
  }
  const rows = [
    ...read("gateway/README.md").matchAll(/^\| ((?:`[a-z]+\/`(?:, )?)+)(?: \(the doors\))? *\| (.*) \|$/gm),
  ];
  const told = rows.flatMap(([, rooms = "", imports = ""]) => {
    const ofGateway = imports.split("; never")[0]?.split("; of")[0] ?? "";
    return (rooms.match(/[a-z]+(?=\/)/g) ?? []).map((room) => [room, ofGateway.match(/[a-z]+(?=\/`)/g) ?? []]);
  });
  expect(Object.fromEntries(told)).toEqual({ ...ALLOWED, console: ALLOWED.rest });
});
