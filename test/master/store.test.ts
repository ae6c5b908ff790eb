/** Each store of the metadata, judged by the one suite of what a store must do. */
import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SqliteMetadata } from "../../databases/metadata/sqlite-metadata.ts";
import type { AppliedEntry, MetadataStore } from "../../databases/metadata/store.ts";
import { eventfulLife } from "../support/eventful-life.ts";
import { LogRunner } from "../support/log-runner.ts";
import { describeStore } from "./store-behaviour.ts";

const fileIn = (folder: string): string => join(folder, "dfs_metadata.db");

describeStore("SQLite in a file", (folder) => new SqliteMetadata(fileIn(folder)));
describeStore("SQLite in memory", () => new SqliteMetadata(":memory:"), {
  beCopied: "copies are made by another thread, which cannot open a database in this one's memory",
});
describeStore("SQLite in a file that is closed and opened after every batch", (folder) => reopening(fileIn(folder)));

/** A store whose process ends after every batch. */
function reopening(path: string): MetadataStore {
  let store = new SqliteMetadata(path);
  const reopen = (): void => {
    store.close();
    store = new SqliteMetadata(path);
  };
  return new Proxy({} as MetadataStore, {
    get: (_, name: keyof MetadataStore) => {
      if (name === "apply")
        return (entries: readonly AppliedEntry[]) => {
          try {
            return store.apply(entries);
          } finally {
            reopen();
          }
        };
      const value = store[name];
      return typeof value === "function" ? (value as (...args: never[]) => unknown).bind(store) : value;
    },
  });
}

test("two stores that applied the same log hold the same state, whatever happened between", () => {
  const folder = mkdtempSync(join(tmpdir(), "dfs-store-"));
  const lived = [new SqliteMetadata(":memory:"), reopening(fileIn(folder))].map((store) => {
    const dfs = new LogRunner(store);
    dfs.register();
    eventfulLife(dfs);
    return dfs;
  });
  const [first, second] = lived.map((dfs) => ({
    applied: dfs.metadata.applied(),
    workers: dfs.metadata.rows("workers", {}),
    sets: dfs.metadata.rows("replicaSets", {}),
    names: dfs.queries.list({ prefix: "", delimiter: false, after: "", limit: 1000 }),
  }));
  expect(second).toEqual(first as NonNullable<typeof first>);
  for (const { metadata } of lived) metadata.close();
  rmSync(folder, { recursive: true, force: true });
});

test("what was applied since a copy began does not count as durable before the copy is made", () => {
  const folder = mkdtempSync(join(tmpdir(), "dfs-store-"));
  const dfs = new LogRunner(new SqliteMetadata(fileIn(folder)));
  dfs.register();
  const { index: before } = dfs.metadata.makeDurable();
  expect(before).toBe(dfs.metadata.applied().index);
  dfs.accept({ type: "MAKE_DIRECTORY", path: "a" });
  const copying = new Database(fileIn(folder), { readonly: true });
  copying.exec("BEGIN");
  copying.query("SELECT * FROM totals").get();
  dfs.accept({ type: "MAKE_DIRECTORY", path: "b" });
  expect(dfs.metadata.makeDurable().index).toBe(before);
  copying.exec("COMMIT");
  copying.close(true);
  expect(dfs.metadata.makeDurable().index).toBe(before + 2);
  dfs.metadata.close();
  rmSync(folder, { recursive: true, force: true });
});
