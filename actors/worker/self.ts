/** Who this worker is: its name and place, and what its data directory says of it. */
import type { ChunkIndex } from "../../databases/chunk-index.ts";
import { MAX_TERM } from "../messages/primitives.ts";
import { ExitCode, StartRefused } from "../node/lifecycle.ts";
import type { GroupCommit } from "./store/group-commit.ts";

export interface NamedWorker {
  id: string;
  url: string;
  zone: string;
}

export class Self {
  readonly id: string;
  readonly url: string;
  readonly zone: string;
  readonly incarnation: string;
  /** This start's: it grows with each. */
  readonly epoch: number;
  readonly #index: ChunkIndex;
  #clusterId: string | null;

  /**
   * Begins an epoch.
   *
   * @param resetsTerm whether the stored term is to be replaced, and so may be any
   * @throws StartRefused if the stored term is implausible; the index is closed then
   */
  constructor({ id, url, zone }: NamedWorker, index: ChunkIndex, resetsTerm: boolean) {
    const { incarnation, epoch, clusterId, highestTerm } = index.beginEpoch();
    if (highestTerm > MAX_TERM && !resetsTerm) {
      index.close();
      throw new StartRefused(
        `${id} cannot start: the term that it has stored, ${highestTerm}, is no leader's. Start it once with --reset-term, when a leader is there.`,
        ExitCode.dataDirectoryRefused,
      );
    }
    this.id = id;
    this.url = url;
    this.zone = zone;
    this.incarnation = incarnation;
    this.epoch = epoch;
    this.#index = index;
    this.#clusterId = clusterId;
  }

  /** null until a leader has registered this worker for the first time. */
  get clusterId(): string | null {
    return this.#clusterId;
  }

  /**
   * The first cluster that takes this worker in is its cluster for good.
   *
   * @param commits of the index
   */
  async join(clusterId: string, commits: GroupCommit): Promise<void> {
    if (this.#clusterId !== null) return;
    await commits.add(true, () => this.#index.joinCluster(clusterId));
    this.#clusterId = clusterId;
  }
}
