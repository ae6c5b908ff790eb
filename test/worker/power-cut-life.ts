/**
 * A store on a simulated computer whose disk forgets, with the power, what was not flushed. Runs in a thread of its own,
 * since it replaces globals before anything shipped is imported.
 */
import { install } from "../simulation/system/globals.ts";

export type FlushMistake = "no flush of a chunk's bytes" | "no flush of its folder" | "an inline chunk not durable";

export interface PowerCutOrder {
  seed: number;
  directory: string;
  mistake: FlushMistake | null;
}

declare const self: Worker;

const CHUNKS = 8;

install();

self.onmessage = async ({ data: { seed, directory, mistake } }: MessageEvent<PowerCutOrder>) => {
  const fs = process.getBuiltinModule("node:fs") as { fdatasync: unknown };
  if (mistake === "no flush of a chunk's bytes")
    fs.fdatasync = (_: number, done: (error: null) => void) => void setTimeout(() => done(null), 1);
  const { Computer, currentProgram, Program, settle, surround } = await import("../simulation/system/computer.ts");
  const { World } = await import("../simulation/world.ts");
  const { GroupCommit } = await import("../../actors/worker/store/group-commit.ts");
  const { DirectorySync } = await import("../../actors/worker/store/shelves/directory-sync.ts");
  const { ChunkIndex } = await import("../../databases/chunk-index.ts");
  const { openStore, put } = await import("./open-store.ts");
  const { BLOCK, crc32Of, randomBytes } = await import("./support.ts");

  const { transaction } = ChunkIndex.prototype;
  ChunkIndex.prototype.transaction = function (durable, change) {
    transaction.call(this, durable, change);
    if (durable) currentProgram()?.computer.disk.becameDurable(this.path);
  };
  const { add } = GroupCommit.prototype;
  if (mistake === "an inline chunk not durable")
    GroupCommit.prototype.add = function (_, ...rest) {
      return add.call(this, false, ...rest);
    };
  if (mistake === "no flush of its folder") DirectorySync.prototype.sync = async () => {};

  const world = new World(seed);
  const nothing = () => {
    throw new Error("a store has no network, and does not starve");
  };
  surround({ world, request: nothing, serve: nothing, starves: nothing });
  const computer = new Computer("worker", world);
  computer.disk.directory = directory;
  /** Lets a program do its work to the end. */
  const live = <T>(work: () => Promise<T>): T => {
    const program = new Program(computer);
    computer.program = program;
    const outcome: { value?: T; error?: unknown; isOver: boolean } = { isOver: false };
    program.within(() =>
      work().then(
        (value) => Object.assign(outcome, { value, isOver: true }),
        (error) => Object.assign(outcome, { error, isOver: true }),
      ),
    );
    settle();
    while (!outcome.isOver && world.step(60_000, settle));
    if (outcome.error) throw outcome.error;
    computer.disk.losePower();
    program.end(null);
    return outcome.value as T;
  };

  const acknowledged = live(async () => {
    const { store, index } = await openStore(directory);
    index.beginEpoch(); // as every worker does: durable, and so is all that came before
    const told: { chunkId: number; lengthBytes: number; crc32: number }[] = [];
    for (let chunkId = 1; chunkId <= CHUNKS; chunkId++) told.push(await put(store, chunkId, randomBytes(3 * BLOCK)));
    for (let chunkId = CHUNKS + 1; chunkId <= 2 * CHUNKS; chunkId++) {
      const bytes = randomBytes(500);
      const small = { chunkId, lengthBytes: 500, crc32: crc32Of(bytes) };
      await store.sealWhole(small, BLOCK, bytes);
      told.push(small);
    }
    return told;
  });
  const lost = live(async () => {
    const { store } = await openStore(directory);
    const verdicts = new Map<number, string>();
    for (const chunk of acknowledged) verdicts.set(chunk.chunkId, await store.verify(chunk.chunkId, chunk));
    return acknowledged.filter(({ chunkId }) => verdicts.get(chunkId) !== "good").map(({ chunkId }) => chunkId);
  });
  self.postMessage({ acknowledged: acknowledged.length, lost });
};
