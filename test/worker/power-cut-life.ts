/**
 * A store on a simulated computer whose disk forgets, with the power, what was not flushed. Runs in a thread of its own,
 * since it replaces globals before anything shipped is imported.
 */
import { install } from "../simulation/system/globals.ts";

export type FlushMistake =
  | "no flush of a chunk's bytes"
  | "no flush of its folder"
  | "no flush of the quarantine"
  | "no flush of the folder that a copy is restored to"
  | "an inline chunk not durable"
  | "no flush of the index's log";

export interface PowerCutOrder {
  seed: number;
  directory: string;
  mistake: FlushMistake | null;
}

/** What a chunk was before the power was cut, as the store had acknowledged it. */
export type Kind = "file" | "inline" | "quarantined" | "restored";
/** How many chunks of each kind are not any more what they were. */
export type Forgotten = Record<Kind, number>;

declare const self: Worker;

const CHUNKS_OF_A_KIND = 8;

install();

self.onmessage = async ({ data: { seed, directory, mistake } }: MessageEvent<PowerCutOrder>) => {
  const { Computer, currentProgram, Program, settle, surround } = await import("../simulation/system/computer.ts");
  const { World } = await import("../simulation/world.ts");
  const { GroupCommit } = await import("../../actors/worker/store/group-commit.ts");
  const { DirectorySync } = await import("../../actors/worker/store/shelves/directory-sync.ts");
  const { FileShelf } = await import("../../actors/worker/store/shelves/file-shelf.ts");
  const { PartFile } = await import("../../actors/worker/store/shelves/part-file.ts");
  const { ChunkIndex } = await import("../../databases/chunk-index.ts");
  const { WriteAheadLog } = await import("../../databases/write-ahead-log.ts");
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
  const { sync } = DirectorySync.prototype;
  /** Lets one step of the shelf do without flushes of folders. */
  const withoutFlush = (step: "put" | "quarantine" | "restore"): void => {
    const before: (...args: never[]) => Promise<void> = FileShelf.prototype[step];
    FileShelf.prototype[step] = async function (...args: never[]) {
      DirectorySync.prototype.sync = async () => {};
      await before.apply(this, args).finally(() => {
        DirectorySync.prototype.sync = sync;
      });
    };
  };
  if (mistake === "no flush of a chunk's bytes") PartFile.prototype.flush = async () => {};
  if (mistake === "no flush of the index's log") WriteAheadLog.prototype.flush = async () => {};
  if (mistake === "no flush of its folder") withoutFlush("put");
  if (mistake === "no flush of the quarantine") withoutFlush("quarantine");
  if (mistake === "no flush of the folder that a copy is restored to") withoutFlush("restore");

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

  const idsOf = (kind: Kind): number[] => {
    const before = ["file", "inline", "quarantined", "restored"].indexOf(kind) * CHUNKS_OF_A_KIND;
    return Array.from({ length: CHUNKS_OF_A_KIND }, (_, n) => before + n + 1);
  };
  live(async () => {
    const { store, index } = await openStore(directory);
    index.beginEpoch(); // as every worker does: durable, and so is all that came before
    for (const kind of ["file", "quarantined", "restored"] as const)
      for (const chunkId of idsOf(kind)) await put(store, chunkId, randomBytes(3 * BLOCK));
    for (const chunkId of idsOf("restored")) await store.quarantine(chunkId, "the test says so");
    if ((await store.recheck(-1)) !== CHUNKS_OF_A_KIND) throw new Error("not all copies were restored");
    for (const chunkId of idsOf("quarantined")) await store.quarantine(chunkId, "the test says so");
    for (const chunkId of idsOf("inline")) {
      const bytes = randomBytes(500);
      await store.sealWhole({ chunkId, lengthBytes: 500, crc32: crc32Of(bytes) }, BLOCK, bytes);
    }
  });
  const forgotten = live(async () => {
    const { store } = await openStore(directory);
    const forgotten: Forgotten = { file: 0, inline: 0, quarantined: 0, restored: 0 };
    for (const kind of ["file", "inline", "restored"] as const)
      for (const chunkId of idsOf(kind)) if ((await store.verify(chunkId, null)) !== "good") forgotten[kind]++;
    for (const chunkId of idsOf("quarantined"))
      if (store.describe(chunkId)?.state !== "quarantined") forgotten.quarantined++;
    return forgotten;
  });
  self.postMessage(forgotten);
};
