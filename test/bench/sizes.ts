/** How much each measurement does: in full, or cut so that all of it takes a few minutes. */

const MiB = 1 << 20;

export interface Sizes {
  /** Of the file that is put and got. */
  fileBytes: number;
  rounds: { disk: number; memory: number };
  smallFiles: number;
  /** Empty files, with each number of masters. */
  created: number;
  stats: number;
  listPages: number;
  /** Names in the directory that pages are asked of beside other work. */
  pageNames: number;
  idleMs: number;
  /** Turns that two contenders take, and what each does in one. */
  turns: number;
  perTurn: { smallFiles: number; fileBytes: number };
  /** Files whose bytes lie in the metadata. */
  tinyFiles: number;
  /** Files of one chunk, in the metadata that a master starts with. */
  metadataFiles: number;
  /** Of a simulated cluster. */
  clusterChunks: number;
  /** In one worker. */
  smallChunks: number;
  /** Names in one directory. */
  largeDirectory: number;
  /** Leaders killed. */
  failovers: number;
  /** Of each of the uploads at once. */
  parallelUploadBytes: number;
  slowReadersMs: number;
}

export const FULL: Sizes = {
  fileBytes: 1024 * MiB,
  rounds: { disk: 3, memory: 5 },
  smallFiles: 6000,
  created: 20_000,
  stats: 60_000,
  listPages: 300,
  pageNames: 10_000,
  idleMs: 30_000,
  turns: 12,
  perTurn: { smallFiles: 2000, fileBytes: 256 * MiB },
  tinyFiles: 500_000,
  metadataFiles: 10_000_000,
  clusterChunks: 10_000_000,
  smallChunks: 1_000_000,
  largeDirectory: 1_000_000,
  failovers: 5,
  parallelUploadBytes: 1024 * MiB,
  slowReadersMs: 10_000,
};

export const QUICK: Sizes = {
  fileBytes: 128 * MiB,
  rounds: { disk: 1, memory: 1 },
  smallFiles: 500,
  created: 2000,
  stats: 4000,
  listPages: 30,
  pageNames: 2000,
  idleMs: 3000,
  turns: 2,
  perTurn: { smallFiles: 200, fileBytes: 32 * MiB },
  tinyFiles: 5000,
  metadataFiles: 300_000,
  clusterChunks: 100_000,
  smallChunks: 20_000,
  largeDirectory: 20_000,
  failovers: 1,
  parallelUploadBytes: 8 * MiB,
  slowReadersMs: 1000,
};

/** Space for what lies in a place at once: the file that stays, one under way, one in the trash, and the fan-out's. */
export const neededBytes = ({ fileBytes }: Sizes): number => 3 * 4 * fileBytes;
