/** What keeps the tables of the READMEs true: they are made from the source. `UPDATE_README=1` writes them. */
import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { ErrorCodes } from "../../actors/messages/errors.ts";
import { MasterMailbox } from "../../actors/messages/master.ts";
import { RecordsMailbox } from "../../actors/messages/records.ts";
import { WorkerMailbox } from "../../actors/messages/worker.ts";
import { ROOT, readReadme, readReadmes } from "./readmes.ts";
import { configKeys, MESSAGE_FILES, messagesOf, TABLES, tablesIn, withTables } from "./tables.ts";

if (Bun.env.UPDATE_README)
  for (const { path, text } of readReadmes()) writeFileSync(join(ROOT, path), withTables(text));

const places = Object.entries(TABLES).map(([name, { readme }]) => [name, readme] as [string, string]);

test.each(places)("the tables are what the source says: %p is in %p (UPDATE_README=1 writes it)", (name, path) => {
  expect(tablesIn(readReadme(path).text).get(name)).toBe(TABLES[name]?.make() ?? "");
});

test("the tables have no place but their own, and no README has one that is not made here", () => {
  const found = readReadmes().flatMap(({ path, text }) => [...tablesIn(text).keys()].map((name) => [name, path]));
  expect(found.sort()).toEqual([...places].sort());
});

test("the tables have a row for every key, code and message, and each row says something", () => {
  expect(configKeys()).toContain("repair.maxPerWorker");
  const errors = TABLES.errors?.make() ?? "";
  for (const code of Object.keys(ErrorCodes).filter((name) => name !== "NOT_MODIFIED"))
    expect(errors).toContain(`| \`${code}\` |`);
  const described = Object.values(MESSAGE_FILES)
    .flat()
    .flatMap((name) => messagesOf(`actors/messages/${name}.ts`))
    .map(({ type }) => type);
  const taken = [MasterMailbox, WorkerMailbox, RecordsMailbox].flatMap((mailbox) => Object.keys(mailbox));
  expect(taken.filter((type) => !described.includes(type))).toEqual([]);
  const empty = Object.values(TABLES).flatMap(({ make }) => make().match(/^.*\|\s*\|$/gm) ?? []);
  expect(empty).toEqual([]);
});

/** A call to the recorder, or the list that an entry script hands to what calls it. */
const REGISTERED = /registerMachines\([^)]*\)|machines: \[[^\]]*\]/g;

test("every machine of the program has a row, is drawn ahead, and is registered with the recorder of its process", () => {
  const files = [...new Bun.Glob("{actors,gateway}/**/*.machine.ts").scanSync({ cwd: ROOT })];
  const table = TABLES.machines?.make() ?? "";
  expect(files.filter((file) => !table.includes(`| \`${file}\` |`))).toEqual([]);
  const sources = [...new Bun.Glob("{actors,gateway}/**/*.ts").scanSync({ cwd: ROOT })];
  const registered = sources
    .flatMap((file) => [...readFileSync(join(ROOT, file), "utf8").matchAll(REGISTERED)])
    .map(([names]) => names)
    .join();
  const nameOf = (file: string): string => `${/([\w-]+)\.machine\.ts$/.exec(file)?.[1]}Machine`;
  expect(files.map(nameOf).filter((name) => !registered.includes(name))).toEqual([]);
});
