/** What keeps the house in order: who may import whom, states that explain themselves, one style, one top level. */
import { expect, test } from "bun:test";
import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join, relative, resolve } from "node:path";
import { outputOf } from "./support/child-output.ts";

const ROOT = resolve(import.meta.dir, "..");
const sources = [...new Bun.Glob("{actors,gateway,databases}/**/*.{ts,tsx}").scanSync({ cwd: ROOT })]
  .filter((file) => !/^databases\/data\//.test(file) && !file.includes("node_modules"))
  .sort();
const everything = [...sources, ...new Bun.Glob("test/**/*.ts").scanSync({ cwd: ROOT })];
const read = (file: string): string => readFileSync(join(ROOT, file), "utf8");

interface Import {
  from: string;
  /** A path of ours from the root, or a package. */
  to: string;
}

const transpilers = { ts: new Bun.Transpiler({ loader: "ts" }), tsx: new Bun.Transpiler({ loader: "tsx" }) };

const scan = (file: string): string[] =>
  transpilers[file.endsWith("x") ? "tsx" : "ts"].scanImports(read(file).replace(/^#!.*/, "")).map(({ path }) => path);

const target = (file: string, specifier: string): string =>
  specifier.startsWith(".") ? relative(ROOT, resolve(ROOT, dirname(file), specifier)) : specifier;

/** `scanImports` sees what runs; imports of types alone, which it leaves out, point the same way. */
function importsOf(file: string): Import[] {
  const types = read(file).matchAll(/^(?:import|export)\s+type\s[^;]*?\sfrom\s+"([^"]+)"/gm);
  const specifiers = new Set([...scan(file), ...[...types].map((match) => match[1] as string)]);
  return [...specifiers].map((specifier) => ({ from: file, to: target(file, specifier) }));
}

const imports = sources.flatMap(importsOf);
const isOurs = ({ to }: Import): boolean => /^(actors|gateway|databases|test)\//.test(to);
const spelled = (list: Import[]): string[] => list.map(({ from, to }) => `${from} → ${to}`);

/** Imports by files of `from` that `allowed` does not take. */
const strays = (from: RegExp, allowed: RegExp, which: (one: Import) => boolean = isOurs): string[] =>
  spelled(imports.filter((one) => from.test(one.from) && which(one) && !allowed.test(one.to)));

const all = (): boolean => true;

test("the reader of imports sees values, types and dynamic imports", () => {
  const seen = importsOf("actors/rules/path.ts").concat(importsOf("actors/rules/chunk-id.ts"));
  expect(spelled(seen)).toEqual([
    "actors/rules/path.ts → actors/messages/errors.ts",
    "actors/rules/chunk-id.ts → actors/messages/primitives.ts",
  ]);
});

test("messages import TypeBox and each other, nothing else", () => {
  expect(strays(/^actors\/messages\//, /^(actors\/messages\/|@sinclair\/typebox)/, all)).toEqual([]);
});

test("rules import messages and rules: no I/O, no clock, no package", () => {
  expect(strays(/^actors\/rules\//, /^actors\/(messages|rules)\//, all)).toEqual([]);
  const files = sources.filter((file) => file.startsWith("actors/rules/"));
  expect(
    files.filter((file) => /\b(Date\.now|Math\.random|performance\.now|fetch\(|Bun\.file)/.test(read(file))),
  ).toEqual([]);
});

test("machines do no I/O: they import XState, rules, messages and each other", () => {
  const allowed = /^(xstate$|actors\/(messages|rules)\/|.*\.machine\.ts$|actors\/rules\/supplied-by-host\.ts$)/;
  const runtime = (file: string): Import[] =>
    scan(file).map((specifier) => ({ from: file, to: target(file, specifier) }));
  const machines = sources.filter((file) => file.endsWith(".machine.ts"));
  expect(machines.length).toBeGreaterThanOrEqual(5);
  const effects = machines.flatMap(runtime).filter(({ to }) => /^(node:|bun:|elysia|databases\/)/.test(to));
  expect(spelled(effects)).toEqual([]);
  const ours = machines.flatMap(runtime).filter(({ from, to }) => !allowed.test(to) && dirname(to) !== dirname(from));
  expect(spelled(ours)).toEqual([]);
});

test("what every node is made of knows no node", () => {
  expect(strays(/^actors\/node\//, /^actors\/(messages|rules|node)\//)).toEqual([]);
});

test("masters and workers know each other, and the gateway, by their messages alone", () => {
  expect(strays(/^actors\/master\//, /^(actors\/(messages|rules|node|master)|databases)\//)).toEqual([]);
  expect(strays(/^actors\/worker\//, /^(actors\/(messages|rules|node|worker)|databases)\//)).toEqual([]);
});

test("the gateway knows masters and workers by their messages alone, and opens no database", () => {
  expect(strays(/^gateway\//, /^(actors\/(messages|rules|node)|gateway)\//)).toEqual([
    // The entry script finds its data, and hands the console its stores.
    "gateway/gateway.ts → databases/node-data.ts",
    "gateway/gateway.ts → databases/records.ts",
  ]);
});

test("the client library stands on messages and rules, the command line on the client library", () => {
  expect(strays(/^gateway\/client\//, /^(actors\/(messages|rules)|gateway\/client)\//)).toEqual([]);
  expect(strays(/^gateway\/cli\//, /^(actors\/(messages|rules|node)|gateway\/(client|cli|console))\//)).toEqual([]);
});

const DOORS = ["gateway/rest/", "gateway/s3/", "gateway/console/"];

test("doors never import each other, and only the gateway's server knows them all", () => {
  const doorOf = (file: string): string | undefined => DOORS.find((door) => file.startsWith(door));
  const across = imports.filter(({ from, to }) => doorOf(to) && doorOf(from) !== doorOf(to));
  // The command line shows machines, recordings and drills in the console's words; the gateway puts everything together.
  expect(spelled(across.filter(({ from }) => !/^gateway\/(cli\/|(server|gateway)\.ts$)/.test(from)))).toEqual([]);
});

test("below the doors: http and ports know no node, nodes no transfer, and none of them a door", () => {
  const below = /^(actors\/(messages|rules|node)|gateway\/(http|ports|access))\//;
  expect(strays(/^gateway\/ports\//, /^(actors\/(messages|rules|node)|gateway\/(ports|access))\//)).toEqual([]);
  expect(strays(/^gateway\/(http|access)\//, below)).toEqual([]);
  expect(strays(/^gateway\/nodes\//, /^(actors\/(messages|rules|node)|gateway\/(ports|access|nodes))\//)).toEqual([]);
  expect(
    strays(/^gateway\/transfer\//, /^(actors\/(messages|rules|node)|gateway\/(ports|access|nodes|transfer))\//),
  ).toEqual([]);
});

test("the leader's work knows the metadata by its port, never how masters agree", () => {
  const allowed = /^actors\/(messages|rules|node|master\/leading)\/|^actors\/master\/metadata-port\.ts$/;
  expect(strays(/^actors\/master\/leading\//, allowed)).toEqual([]);
  expect(
    strays(
      /^actors\/master\/group\//,
      /^(actors\/(messages|rules|node|master\/group)|databases)\/|^actors\/master\/(metadata-port|roles)\.ts$/,
    ),
  ).toEqual([]);
});

test("a worker's store knows neither its leader nor its readers, and a shelf knows no store", () => {
  expect(strays(/^actors\/worker\/store\//, /^(actors\/(messages|rules|node|worker\/store)|databases)\//)).toEqual([]);
  // Of the store only what stands for the disk itself: its room, its flushes, its pace.
  const allowed =
    /^(actors\/(messages|rules|node|worker\/store\/shelves)|databases)\/|\/store\/(disk|flush-queue|pace)\.ts$/;
  expect(strays(/^actors\/worker\/store\/shelves\//, allowed)).toEqual([]);
});

test("databases know messages and rules", () => {
  expect(strays(/^databases\//, /^(actors\/(messages|rules)|databases)\//)).toEqual([]);
});

test("only databases/ opens SQLite", () => {
  expect(spelled(imports.filter(({ from, to }) => to === "bun:sqlite" && !from.startsWith("databases/")))).toEqual([]);
});

/** Calls of a global in code, and not in comments or as a method. */
const callers = (call: RegExp, within: RegExp): string[] =>
  sources.filter((file) => within.test(file) && call.test(read(file).replace(/\/\*[\s\S]*?\*\/|\/\/.*/g, "")));

test("one place calls other nodes", () => {
  expect(callers(/(?<![.#\w])fetch\(/, /^(actors|gateway|databases)\//)).toEqual([
    // The launcher asks its own children whether they are ready.
    "actors/cluster.ts",
    "actors/node/http/request.ts",
    "gateway/cli/recordings.ts",
    // Drills are asked of the launcher, at its socket.
    "gateway/console/drills.ts",
    // The page calls the gateway that it came from.
    "gateway/console/page/ask.ts",
  ]);
});

test("one place listens for other nodes and clients", () => {
  expect(callers(/\bBun\.(serve|listen)\(|\.listen\(\d/, /^(actors|gateway|databases)\//)).toEqual([
    // The launcher tries whether its nodes' ports are free, and listens at its socket.
    "actors/cluster.ts",
    "actors/launcher/control.ts",
    "actors/node/http/server-options.ts",
    // A recording is shown to the one who opened it, on this machine.
    "gateway/cli/recordings.ts",
  ]);
});

test("nothing outside test/ imports a test", () => {
  expect(spelled(imports.filter(({ to }) => to.startsWith("test/")))).toEqual([]);
});

test("no file imports itself, however long the way round", () => {
  const next = Map.groupBy(imports.filter(isOurs), ({ from }) => from);
  const isClear = new Set<string>();
  const wayRound = (file: string, way: string[]): string[] | null => {
    if (way.includes(file)) return [...way.slice(way.indexOf(file)), file];
    if (isClear.has(file)) return null;
    for (const { to } of next.get(file) ?? []) {
      const round = wayRound(to, [...way, file]);
      if (round) return round;
    }
    isClear.add(file);
    return null;
  };
  expect(sources.flatMap((file) => wayRound(file, [])?.join(" → ") ?? [])).toEqual([]);
});

// ── what nobody needs ──────────────────────────────────────────────────────────────────────────────────────────────

const withoutComments = (text: string): string => text.replace(/\/\*[\s\S]*?\*\//g, "").replace(/(^|\s)\/\/.*/g, "");

/** Files by the words in their code. */
function filesByWord(): Map<string, Set<string>> {
  const found = new Map<string, Set<string>>();
  for (const file of everything)
    for (const word of new Set(withoutComments(read(file)).match(/[A-Za-z_$][\w$]*/g)))
      found.set(word, (found.get(word) ?? new Set()).add(file));
  return found;
}

test("no type is exported that nothing mentions", () => {
  const files = filesByWord();
  const dead = sources.flatMap((file) =>
    [...read(file).matchAll(/^export (?:interface|type) ([\w$]+)/gm)]
      .map(([, name = ""]) => name)
      .filter((name) => files.get(name)?.size === 1)
      .filter((name) => withoutComments(read(file)).split(new RegExp(`\\b${name}\\b`)).length < 3)
      .map((name) => `${file}: ${name}`),
  );
  expect(dead).toEqual([]);
});

/** `file#name` of everything that some file imports by name; `file#*`: imported as a whole. */
function importedNames(): Set<string> {
  const found = new Set<string>();
  for (const file of everything) {
    const text = read(file);
    for (const [, names = "", from = ""] of text.matchAll(
      /\b(?:import|export)\s+(?:type\s+)?\{([^}]*)\}\s*from\s+"([^"]+)"/g,
    ))
      for (const name of names.split(","))
        found.add(
          `${target(file, from)}#${name
            .trim()
            .replace(/^type /, "")
            .replace(/ as .*/, "")}`,
        );
    for (const [, from = ""] of text.matchAll(/\bimport(?: \* as \w+ from|\()\s*"([^"]+)"/g))
      found.add(`${target(file, from)}#*`);
  }
  return found;
}

test("no value is exported that no other file imports", () => {
  const imported = importedNames();
  const dead = sources
    // Messages are a vocabulary: README tables are made of all of it.
    .filter((file) => !file.startsWith("actors/messages/") && !imported.has(`${file}#*`))
    .flatMap((file) =>
      [...read(file).matchAll(/^export (?:async )?(?:abstract )?(?:const|let|class|function\*?) ([\w$]+)/gm)]
        .map(([, name = ""]) => `${file}#${name}`)
        .filter((name) => !imported.has(name)),
    );
  expect(dead).toEqual([]);
});

test("no helper is written twice", () => {
  const bodies = new Map<string, string[]>();
  for (const file of sources)
    for (const [, name = "", body = ""] of read(file).matchAll(
      /^(?:export )?(?:async )?(?:function\*? ([\w$]+)[^{]*\{\n([\s\S]*?)\n\})/gm,
    )) {
      const plain = withoutComments(body).replace(/\s+/g, " ").trim();
      if (plain.length >= 70) bodies.set(plain, [...(bodies.get(plain) ?? []), `${file}: ${name}`]);
    }
  for (const file of sources)
    for (const [, name = "", body = ""] of read(file).matchAll(
      /^(?:export )?const ([\w$]+) = (\([\s\S]*?;)\n(?=\n|\/|const|export|function|class|interface|type)/gm,
    )) {
      const plain = withoutComments(body).replace(/\s+/g, " ").trim();
      if (plain.length >= 70) bodies.set(plain, [...(bodies.get(plain) ?? []), `${file}: ${name}`]);
    }
  expect([...bodies.values()].filter((places) => places.length > 1)).toEqual([]);
});

test("imports of our own carry .ts", () => {
  expect(spelled(imports.filter((one) => isOurs(one) && !/\.(tsx?|json|css|html)$/.test(one.to)))).toEqual([]);
});

test("files are kebab-case and named for what they decide: none is utils or index", () => {
  const allowed = /^[a-z0-9]+(-[a-z0-9]+)*(\.(machine|test|bench))?\.tsx?$/;
  const wrong = everything.filter(
    (file) => !allowed.test(basename(file)) || /^(utils?|index|helpers?|misc|common)\./.test(basename(file)),
  );
  expect(wrong).toEqual([]);
});

interface StateConfig {
  description?: string;
  type?: string;
  states?: Record<string, StateConfig>;
}

function withoutDescription(states: Record<string, StateConfig>, above: string): string[] {
  return Object.entries(states).flatMap(([name, state]) => [
    ...(state.description?.trim() ? [] : [`${above}.${name}`]),
    ...withoutDescription(state.states ?? {}, `${above}.${name}`),
  ]);
}

test("every state of every machine has a description", async () => {
  const found: string[] = [];
  let machines = 0;
  for (const file of sources.filter((name) => name.endsWith(".machine.ts")))
    for (const value of Object.values((await import(join(ROOT, file))) as Record<string, unknown>)) {
      const config = (value as { config?: StateConfig & { id?: string } } | null)?.config;
      if (typeof value !== "object" || !config?.states) continue;
      machines++;
      found.push(...withoutDescription(config.states, config.id ?? file));
    }
  expect(machines).toBeGreaterThanOrEqual(5);
  expect(found).toEqual([]);
});

test("the top level holds nothing but its rooms and its few files", () => {
  const allowed = [
    "README.md",
    "actors",
    "bunfig.toml",
    "config.json",
    "databases",
    "gateway",
    "package-lock.json",
    "package.json",
    "test",
    "tsconfig.json",
  ];
  const notKept = new Set(["node_modules", "bun.lock", "bench.json"]);
  const found = readdirSync(ROOT).filter((name) => !name.startsWith(".") && !notKept.has(name));
  expect(found.sort()).toEqual(allowed);
});

async function runs(...command: string[]): Promise<string> {
  const child = Bun.spawn(command, { cwd: ROOT, stdout: "pipe", stderr: "pipe" });
  const { stdout, stderr, exitCode } = await outputOf(child);
  return exitCode === 0 ? "" : `${stdout}${stderr}`;
}

test("the types hold", async () => {
  expect(await runs(process.execPath, "node_modules/.bin/tsc", "-p", ".")).toBe("");
}, 120_000);

test("format and lint are clean", async () => {
  expect(await runs(process.execPath, "node_modules/.bin/biome", "check", "--colors=off")).toBe("");
}, 60_000);
