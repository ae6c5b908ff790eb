/** Runs commands against real SQLite in memory, and looks at the tables behind it. */
import { RULES } from "../../actors/rules/decide/exactly-once.ts";
import { SqliteMetadata } from "../../databases/metadata/sqlite-metadata.ts";
import { LogRunner } from "./log-runner.ts";

export class MetadataHarness extends LogRunner<SqliteMetadata> {
  /** @param rules another make of the program, with a mistake planted in it */
  constructor(workers?: string[], rules = RULES) {
    super(new SqliteMetadata(":memory:", rules));
    this.register(workers);
  }

  count(table: string): number {
    return (this.metadata.prepare<{ n: number }>(`SELECT count(*) AS n FROM ${table}`).get() as { n: number }).n;
  }

  /** What must hold after every command, in words if it does not. */
  violations(): string[] {
    const ask = (sql: string) => this.metadata.prepare<Record<string, unknown>>(sql).all();
    const wrong: [claim: string, counterexamples: unknown[]][] = [
      [
        "a set counts its chunks",
        ask(`SELECT s.id, s.chunk_count, count(c.id) AS real FROM replica_sets s LEFT JOIN chunks c ON c.set_id = s.id
             GROUP BY s.id HAVING s.chunk_count <> count(c.id)`),
      ],
      ["a chunk is in a set", ask("SELECT id FROM chunks WHERE set_id NOT IN (SELECT id FROM replica_sets)")],
      [
        "a chunk counts the files that share it",
        ask(`SELECT c.id, c.refs, count(f.chunk_id) AS real FROM chunks c LEFT JOIN file_chunks f ON f.chunk_id = c.id
             GROUP BY c.id HAVING c.refs <> count(f.chunk_id)`),
      ],
      [
        "no chunk is both used and garbage everywhere it lives",
        ask(
          `SELECT g.chunk_id FROM garbage g JOIN chunks c ON c.id = g.chunk_id JOIN replica_sets s ON s.id = c.set_id
         WHERE instr(',' || s.workers || ',', ',' || g.worker_id || ',') > 0`,
        ),
      ],
      ["a file's chunks exist", ask("SELECT chunk_id FROM file_chunks WHERE chunk_id NOT IN (SELECT id FROM chunks)")],
      [
        "a file is as long as its chunks, or as its bytes here",
        ask(`SELECT e.key, e.size FROM entries e WHERE e.key NOT LIKE '%/' AND e.size <>
             (SELECT coalesce(sum(c.length), 0) FROM file_chunks f JOIN chunks c ON c.id = f.chunk_id WHERE f.file_id = e.id) +
             (SELECT coalesce(sum(length(bytes)), 0) FROM contents WHERE file_id = e.id)`),
      ],
      [
        "bytes are of a file that is there",
        ask("SELECT file_id FROM contents WHERE file_id NOT IN (SELECT id FROM entries)"),
      ],
      [
        "the totals count the bytes of tiny files",
        ask("SELECT tiny_bytes FROM totals WHERE tiny_bytes <> (SELECT coalesce(sum(length(bytes)), 0) FROM contents)"),
      ],
      [
        "a name is a file or a directory",
        ask(`SELECT a.parent, a.key FROM entries a JOIN entries b ON b.parent = a.parent AND b.key = a.key || '/'`),
      ],
    ];
    return wrong
      .filter(([, found]) => found.length > 0)
      .map(([claim, found]) => `${claim}: ${JSON.stringify(found[0])}`);
  }
}
