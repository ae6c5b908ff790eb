/** How much each measurement does: in full, or cut so that all of it takes less than a minute. */

const MiB = 1 << 20;

export interface Sizes {
  /** Of the file that is put and got. */
  fileBytes: number;
  rounds: { disk: number; memory: number };
  smallFiles: number;
  emptyFiles: number;
  listedNames: number;
  listPages: number;
  /** Of each of the uploads at once. */
  parallelUploadBytes: number;
  slowReadersMs: number;
}

export const FULL: Sizes = {
  fileBytes: 1024 * MiB,
  rounds: { disk: 3, memory: 5 },
  smallFiles: 6000,
  emptyFiles: 6000,
  listedNames: 100_000,
  listPages: 300,
  parallelUploadBytes: 1024 * MiB,
  slowReadersMs: 10_000,
};

export const QUICK: Sizes = {
  fileBytes: 128 * MiB,
  rounds: { disk: 1, memory: 1 },
  smallFiles: 500,
  emptyFiles: 500,
  listedNames: 2000,
  listPages: 30,
  parallelUploadBytes: 8 * MiB,
  slowReadersMs: 1000,
};

/** Space for what lies in a place at once: the file that stays, one under way, one in the trash, and the fan-out's. */
export const neededBytes = ({ fileBytes }: Sizes): number => 3 * 4 * fileBytes;
