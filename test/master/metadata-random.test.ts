/** Long random command sequences: the metadata's own invariants hold after each, and a plain model agrees on the names. */
import { expect, test } from "bun:test";
import type { Command } from "../../actors/messages/commands.ts";
import { PROGRAM_VERSION, TINY_SINCE } from "../../actors/rules/decide/cluster-version.ts";
import { MetadataHarness } from "../support/metadata-harness.ts";
import { pick, SEED, seeded } from "../support/random.ts";

const WORKERS = ["w1", "w2", "w3", "w4", "w5"];
const STEPS = 1500;

/** Files and directories as two sets of strings: all that the namespace promises, written the slow way. */
class NaiveNamespace {
  files = new Set<string>();
  directories = new Set<string>();

  #parents = (path: string) =>
    path
      .split("/")
      .slice(0, -1)
      .map((_, n, all) => all.slice(0, n + 1).join("/"));
  #blocked = (path: string) => this.#parents(path).some((parent) => this.files.has(parent));
  #below = (path: string) => [...this.files, ...this.directories].filter((other) => other.startsWith(`${path}/`));
  #addParents(path: string): void {
    for (const parent of this.#parents(path)) this.directories.add(parent);
  }

  put(path: string): boolean {
    if (this.#blocked(path) || this.directories.has(path)) return false;
    this.#addParents(path);
    this.files.add(path);
    return true;
  }

  remove(path: string, recursive: boolean): boolean {
    if (this.files.delete(path)) return true;
    if (!this.directories.has(path) || (this.#below(path).length > 0 && !recursive)) return false;
    for (const other of this.#below(path)) {
      this.files.delete(other);
      this.directories.delete(other);
    }
    return this.directories.delete(path);
  }

  transfer(from: string, to: string, overwrite: boolean, keepSource: boolean): boolean {
    const isFile = this.files.has(from);
    if (!isFile && !this.directories.has(from)) return false;
    if (from === to) return !keepSource;
    const there = this.files.has(to) || this.directories.has(to);
    if (this.#blocked(to) || (there && (!overwrite || !isFile || this.directories.has(to)))) return false;
    if (!isFile && to.startsWith(`${from}/`)) return false;
    this.#addParents(to);
    if (isFile) this.files.add(to);
    else {
      this.directories.add(to);
      for (const set of [this.files, this.directories])
        for (const other of [...set]) if (other.startsWith(`${from}/`)) set.add(to + other.slice(from.length));
    }
    if (!keepSource) this.remove(from, true);
    return true;
  }
}

test.each([TINY_SINCE - 1, PROGRAM_VERSION])(
  `random commands keep every invariant, and a naive namespace agrees, in cluster version %d  SEED=${SEED}`,
  (version) => {
    const random = seeded(SEED);
    const dfs = new MetadataHarness(WORKERS);
    dfs.accept({ type: "SET_CLUSTER_VERSION", version });
    const names = new NaiveNamespace();
    const path = () =>
      Array.from({ length: 1 + Math.floor(random() * 3) }, () => pick(random, ["a", "b", "c", "d"])).join("/");
    const someWorkers = () => WORKERS.filter(() => random() < 0.6);
    const someChunk = () => Math.ceil(random() * dfs.count("chunks") * 1.2) || 1;

    const step = (): [command: Command, model: (() => boolean) | null] => {
      const dice = random();
      const [a, b, flag] = [path(), path(), random() < 0.5];
      if (dice < 0.1 && version >= TINY_SINCE) {
        const content = crypto.getRandomValues(new Uint8Array(1 + Math.floor(random() * 9)));
        return [dfs.putTiny(a, content), () => names.put(a)];
      }
      if (dice < 0.35) {
        const chunks = Array.from({ length: Math.floor(random() * 4) }, () =>
          dfs.chunk(["w1", "w2", ...someWorkers()], 1 + Math.floor(random() * 9)),
        );
        return [dfs.put(a, chunks), () => names.put(a)];
      }
      if (dice < 0.5)
        return [{ type: "DELETE_PATH", path: a, recursive: flag, condition: {} }, () => names.remove(a, flag)];
      if (dice < 0.62)
        return [
          { type: "RENAME_PATH", from: a, to: b, overwrite: flag, condition: {} },
          () => names.transfer(a, b, flag, false),
        ];
      if (dice < 0.72)
        return [
          { type: "COPY_PATH", from: a, to: b, overwrite: flag, condition: {} },
          () => names.transfer(a, b, flag, true),
        ];
      if (dice < 0.76) return [{ type: "REAP_DELETED" }, null];
      if (dice < 0.86)
        return [
          {
            type: "ADD_REPLICAS",
            replicas: [1, 2, 3].map(() => ({ chunkId: someChunk(), workerId: pick(random, WORKERS), reason: "x" })),
          },
          null,
        ];
      if (dice < 0.94)
        return [
          {
            type: "MARK_REPLICAS",
            replicas: [1, 2].map(() => ({
              chunkId: someChunk(),
              workerId: pick(random, WORKERS),
              state: "corrupt" as const,
            })),
          },
          null,
        ];
      if (dice < 0.97)
        return [
          { type: "DROP_REPLICA", term: 1, chunkId: someChunk(), workerId: pick(random, WORKERS), keep: someWorkers() },
          null,
        ];
      if (dice < 0.98)
        return [
          {
            type: "REGISTER_WORKER",
            workerId: pick(random, WORKERS),
            url: "http://127.0.0.1:1",
            zone: "z",
            incarnation: `disk-${random()}`,
            capacityBytes: 1,
          },
          null,
        ];
      return [{ type: "EXPIRE", sessionIdleMs: 1e9 }, null];
    };

    for (let n = 0; n < STEPS; n++) {
      const [command, model] = step();
      const result = dfs.run(command);
      const where = `step ${n}: ${JSON.stringify(command)} → ${JSON.stringify(result)}`;
      if (model) expect(result.ok, where).toBe(model());
      if (n % 10 === 0 || n > STEPS - 20) expect(dfs.violations(), where).toEqual([]);
    }
    expect(dfs.paths()).toEqual([...names.files].sort((x, y) => Buffer.compare(Buffer.from(x), Buffer.from(y))));
    dfs.reapAll();
    expect(dfs.violations()).toEqual([]);
    expect(dfs.metadata.row("totals", {})).toMatchObject({
      files: names.files.size,
      directories: names.directories.size,
    });
  },
);
