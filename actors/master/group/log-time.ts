/**
 * Log time: the clock that leases end by. It stands still while there is no leader, never runs faster than a clock, and is
 * the same for all masters at each entry.
 */
import type { Clock } from "../../node/clock.ts";
import { entryAt, lastIndex } from "../../rules/raft/log-tail.ts";
import type { RaftState } from "../../rules/raft/state.ts";
import { decodeCommand, type Stamp } from "./entry-data.ts";

export class LogTime {
  readonly #clock: Clock;
  /** The last stamp that was applied here. */
  #applied: Stamp = { logTime: 0, wallTime: 0 };
  #base = 0;
  #inOfficeSince = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** ms */
  get now(): number {
    return Math.max(this.#applied.logTime, this.#base + (this.#clock.now() - this.#inOfficeSince));
  }

  /** For entries that carry none. */
  get lastStamp(): Stamp {
    return this.#applied;
  }

  /** For a command that this leader takes now. The wall clock is for people; it never goes back here. */
  stamp(): Stamp {
    const wallTime = Math.max(this.#applied.wallTime, this.#clock.wallTime());
    this.#applied = { ...this.#applied, wallTime };
    return { logTime: this.now, wallTime };
  }

  applied({ logTime, wallTime }: Stamp): void {
    this.#applied = { logTime, wallTime: Math.max(this.#applied.wallTime, wallTime) };
  }

  /** After another state was adopted. */
  reset({ logTime, wallTime }: Stamp): void {
    this.#applied = { logTime, wallTime };
  }

  /** This master leads from here on: log time goes on from the last stamp in the log, whichever leader wrote it. */
  takeOffice({ log, appliedIndex }: Pick<RaftState, "log" | "appliedIndex">): void {
    this.#base = this.#applied.logTime;
    for (let index = lastIndex(log); index > appliedIndex; index--) {
      const entry = entryAt(log, index);
      if (entry?.kind !== "command") continue;
      this.#base = Math.max(this.#base, decodeCommand(entry).stamp.logTime);
      break;
    }
    this.#inOfficeSince = this.#clock.now();
  }
}
