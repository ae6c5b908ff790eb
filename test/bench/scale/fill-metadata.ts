/** Fills `dfs_metadata.db` with rows in SQL, as a cluster of many years has them: millions in a minute or two. */
import type { SqliteMetadata } from "../../../databases/metadata/sqlite-metadata.ts";

export interface Filling {
  /** Each of one chunk. */
  files: number;
  filesPerDirectory: number;
  /** Workers of each replica set; chunks go round all sets. */
  sets: readonly (readonly string[])[];
  chunkBytes: number;
  /** Left out: chunks alone, which no file names. */
  hasNames: boolean;
}

const AT_ONCE = 100_000;

/** Numbers `from` … `to`, as a table. */
const numbers = (from: number, to: number): string =>
  `WITH RECURSIVE n(i) AS (SELECT ${from} UNION ALL SELECT i + 1 FROM n WHERE i < ${to})`;

/** The metadata must be fresh, with its workers registered. Spreads its work over turns of the event loop. */
export async function fillMetadata(
  metadata: SqliteMetadata,
  { files, filesPerDirectory, sets, chunkBytes, hasNames }: Filling,
): Promise<void> {
  const run = (sql: string) => metadata.prepare(sql).run();
  const directories = hasNames ? Math.ceil(files / filesPerDirectory) : 0;
  metadata.commit();
  run("DROP INDEX chunks_by_set");
  const addSet = metadata.prepare("INSERT INTO replica_sets (id, target, workers, chunk_count) VALUES (?, ?, ?, ?)");
  run("BEGIN");
  for (const [n, workers] of sets.entries()) {
    const chunks = Math.floor(files / sets.length) + Number(n + 1 <= files % sets.length);
    addSet.run(n + 1, workers.length, [...workers].sort().join(), chunks);
  }
  run("COMMIT");
  const entry = (parent: string, key: string, id: string, size: number, chunks: number) =>
    `INSERT INTO entries (parent, key, id, size, crc32, etag, content_type, sha256, meta, replication, chunk_count,
       created, modified)
     SELECT ${parent}, ${key}, ${id}, ${size}, 7, '"' || ${id} || '"', 'application/octet-stream', NULL, '{}', 3,
       ${chunks}, 1000, 1000 FROM n`;
  for (let from = 1; from <= directories; from += AT_ONCE)
    run(`${numbers(from, Math.min(directories, from + AT_ONCE - 1))} ${entry("0", "printf('d%07d/', i)", "i", 0, 0)}`);
  for (let from = 1; from <= files; from += AT_ONCE) {
    const some = numbers(from, Math.min(files, from + AT_ONCE - 1));
    run("BEGIN");
    run(
      `${some} INSERT INTO chunks (id, length, crc32, refs, set_id)
       SELECT i, ${chunkBytes}, 7, 1, 1 + (i - 1) % ${sets.length} FROM n`,
    );
    if (hasNames) {
      const id = `${directories} + i`;
      run(`${some} ${entry(`1 + (i - 1) / ${filesPerDirectory}`, "printf('f%08d', i)", id, chunkBytes, 1)}`);
      run(`${some} INSERT INTO file_chunks (file_id, offset, idx, chunk_id) SELECT ${id}, 0, 0, i FROM n`);
    }
    run("COMMIT");
    await new Promise(setImmediate);
  }
  run("CREATE INDEX chunks_by_set ON chunks (set_id, id)");
  run(
    `UPDATE totals SET files = ${hasNames ? files : 0}, directories = ${directories},
       bytes = ${hasNames ? files * chunkBytes : 0}, next_chunk_id = ${files + 1}, next_node_id = ${directories + files + 1}`,
  );
}
