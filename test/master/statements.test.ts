/** Statements are planned when they are prepared, and never again. */
import { Database } from "bun:sqlite";
import { expect, test } from "bun:test";
import { MasterLog } from "../../databases/master-log.ts";
import { SqliteMetadata } from "../../databases/metadata/sqlite-metadata.ts";

/** Every statement that `work` prepares. */
function preparedBy(work: () => void): string[] {
  const { prepare } = Database.prototype;
  const seen: string[] = [];
  Database.prototype.prepare = function (this: Database, ...args: Parameters<typeof prepare>) {
    seen.push(args[0]);
    return prepare.apply(this, args) as never;
  };
  try {
    work();
  } finally {
    Database.prototype.prepare = prepare;
  }
  return seen;
}

const isPlannedByItsValues = (sql: string): boolean =>
  /^\s*(SELECT|WITH)\b/.test(sql) && /\b(ORDER BY|JOIN|LIMIT)\b/.test(sql) && /(?<!\+)\?/.test(sql);

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

test("so no query of a master has such a parameter", () => {
  const statements = preparedBy(() => {
    new SqliteMetadata(":memory:").close();
    const configuration = { voters: [["m1"]], learners: [] };
    const log = new MasterLog(":memory:", { clusterId: "c", nodeId: "m1", configuration });
    log.recover();
    log.close();
  });
  expect(statements.length).toBeGreaterThan(80);
  expect(statements.filter(isPlannedByItsValues)).toEqual([]);
});
