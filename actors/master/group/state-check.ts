/**
 * Runs on the leader: raises the cluster version once all masters know the new one, and checks from time to time that no
 * master has built another state from the log.
 */
import type { NodeId } from "../../messages/primitives.ts";
import type { Logger } from "../../node/log.ts";
import { commonVersion, HASHED_SINCE, majorityHash, type StateMark } from "../../rules/decide/cluster-version.ts";
import { hasQuorum, membersOf } from "../../rules/raft/quorum.ts";
import type { RaftMetadata } from "./raft-metadata.ts";
import type { Heard } from "./raft-transport.ts";

const TICK_MS = 500;
const CHECK_EVERY_MS = 10_000;
/** For the marks of a majority, in periods of checking. */
const MOST_WAITED = 6;

interface Parts {
  metadata: RaftMetadata;
  heard(id: NodeId): Pick<Heard, "knows" | "mark"> | null;
  log: Logger;
  tickMs?: number;
  checkEveryMs?: number;
}

export class StateCheck {
  readonly #parts: Parts;
  readonly #timer: Timer;
  #checkedAt = performance.now();
  #isProposing = false;
  #judgedQuiet = false;

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#timer = setInterval(() => void this.#tick(), parts.tickMs ?? TICK_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  async #tick(): Promise<void> {
    if (this.#isProposing || !this.#parts.metadata.raft.isReady) return;
    this.#isProposing = true;
    try {
      await this.#raiseVersion();
      await this.#checkState();
    } catch (err) {
      this.#parts.log.info(
        { event: "agreement-postponed", err },
        "the masters' states were not compared; the check will be repeated",
      );
    } finally {
      this.#isProposing = false;
    }
  }

  /** A learner that cannot follow the log would be lost as well, so every master that gets the log counts. */
  async #raiseVersion(): Promise<void> {
    const { metadata, log, heard } = this.#parts;
    const { id: self, configuration } = metadata.raft.state;
    const common = commonVersion(membersOf(configuration), (id) =>
      id === self ? metadata.rules.version : (heard(id)?.knows ?? null),
    );
    if (common === null || common <= metadata.store.version) return;
    await metadata.propose({ type: "SET_CLUSTER_VERSION", version: common });
    log.info(
      { event: "cluster-version", version: common },
      "all masters know the newer commands; they may be used now",
    );
  }

  async #checkState(): Promise<void> {
    const { metadata, log, heard, checkEveryMs = CHECK_EVERY_MS } = this.#parts;
    const { version, mark } = metadata.store;
    const waitedMs = performance.now() - this.#checkedAt;
    if (version < HASHED_SINCE || waitedMs < checkEveryMs) return;
    // In quiet times the last mark is judged once, and then there is nothing to compare.
    const isQuiet = metadata.appliedIndex <= mark.index;
    if (isQuiet && this.#judgedQuiet) return;
    const { id: self, configuration } = metadata.raft.state;
    const markOf = (id: NodeId): StateMark | null => (id === self ? mark : (heard(id)?.mark ?? null));
    const told = configuration.voters.flat().filter((id) => markOf(id)?.index === mark.index);
    // A new mark puts an end to the one before, so slow masters get time to report theirs.
    const isTold = mark.index === 0 || hasQuorum(configuration, (id) => told.includes(id));
    if (!isTold && waitedMs < MOST_WAITED * checkEveryMs) return;
    const hash = majorityHash(configuration, mark.index, markOf);
    this.#checkedAt = performance.now();
    if (hash === null && mark.index > 0 && told.some((id) => markOf(id)?.hash !== mark.hash))
      log.error(
        { event: "states-differ", index: mark.index, masters: told },
        "masters built different states from the same log, and no majority says which is right",
      );
    await metadata.propose({ type: "CHECK_STATE", index: hash === null ? 0 : mark.index, hash: hash ?? 0 });
    // Unless something else got into the log before it.
    this.#judgedQuiet = hash !== null && metadata.store.mark.index === mark.index + 1;
  }
}
