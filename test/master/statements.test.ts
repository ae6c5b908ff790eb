/** Statements are planned when they are prepared, and never again. */
import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";

/** Literals of the source that are queries whose plan a value might change, with a parameter that shows its value. */
function plannedByTheirValues(source: string): string[] {
  const literals = source.match(/`[^`]*`|"[^"\n]*"/g) ?? [];
  return literals.filter(
    (sql) =>
      /\b(ORDER BY|JOIN|LIMIT)\b/.test(sql) &&
      !/^.\s*(INSERT|UPDATE|DELETE|CREATE)\b/.test(sql) &&
      /(?<!\+)\?(?=\d|\s|\)|,|.$)/.test(sql.replace(/\$\{[^}]*\}/g, "")),
  );
}

/** CPU time, so that what else the machine does counts little. */
function cost(db: Database, sql: string): number {
  const statement = db.prepare(sql);
  const run = () => {
    for (let n = 0; n < 5_000; n++) statement.all(n, 10);
  };
  run();
  const before = process.cpuUsage();
  run();
  const { user, system } = process.cpuUsage(before);
  return user + system;
}

test("SQLite plans a query anew whenever a bare parameter of it may change its plan: that costs more than the query", () => {
  const db = new Database(":memory:", { strict: true });
  db.exec("CREATE TABLE children (parent INTEGER, key TEXT, PRIMARY KEY (parent, key)) STRICT, WITHOUT ROWID");
  const bare = cost(db, "SELECT key FROM children WHERE parent = ? ORDER BY key LIMIT ?");
  const plus = cost(db, "SELECT key FROM children WHERE parent = +? ORDER BY key LIMIT +?");
  db.close();
  expect(bare / plus).toBeGreaterThan(2);
});

test("so no query of ours has such a parameter", () => {
  const folder = resolve(import.meta.dir, "../../databases");
  const files = [...new Bun.Glob("**/*.ts").scanSync(folder)];
  expect(files.length).toBeGreaterThan(15);
  expect(plannedByTheirValues('db.query("SELECT a FROM t WHERE b = ? ORDER BY a LIMIT +?")')).toHaveLength(1);
  const found = files.flatMap((file) => plannedByTheirValues(readFileSync(join(folder, file), "utf8")));
  expect(found).toEqual([]);
});
