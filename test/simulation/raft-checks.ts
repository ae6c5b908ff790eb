/**
 * What must hold in a group of masters at every moment, whatever the weather: I1–I10 of `rules/raft/README.md`. The checks
 * look at the machines and disks from outside and share no code with what they check but the arithmetic of log positions.
 */
import type { RaftDriver } from "../../actors/master/group/raft-driver.ts";
import type { Configuration, RaftEntry, RaftMessage } from "../../actors/messages/raft.ts";
import { entryAt, type LogTail, lastIndex, termAt } from "../../actors/rules/raft/log-tail.ts";

/** What is on a node's disk: survives a crash, changes only when a flush ends. */
export interface Disk {
  term: number;
  vote: string | null;
  log: LogTail;
  /** Who belongs to the group at the log's base. */
  base: { index: number; configuration: Configuration } | null;
  /** What was applied, in order. May fall back a little at a crash, and is built again from the log. */
  state: AppliedState;
}

export interface AppliedState {
  index: number;
  term: number;
  /** Rolling hash over everything applied. */
  hash: number;
}

export class Violation extends Error {
  override name = "Violation";
  constructor(
    readonly rule: string,
    message: string,
  ) {
    super(`${rule}: ${message}`);
  }
}

/** What was last seen of one master; a new one for each incarnation. */
export interface Seen {
  role: string;
  term: number;
  commit: number;
  applied: number;
  length: number;
}

const PROMISES = new Set(["rpc.vote", "rpc.voteReply", "rpc.preVoteReply", "rpc.appendReply", "rpc.beatReply"]);

const scratch = new DataView(new ArrayBuffer(24));
const scratchBytes = new Uint8Array(scratch.buffer);

export function fold(hash: number, entry: RaftEntry): number {
  scratch.setFloat64(0, hash);
  scratch.setFloat64(8, entry.index);
  scratch.setFloat64(16, entry.term);
  return Bun.hash.crc32(entry.data, Bun.hash.crc32(scratchBytes));
}

export class RaftChecks {
  readonly #leaderOfTerm = new Map<number, string>();
  readonly #entryHash = new Map<string, number>();
  /** `by`: the term in which it was committed, which may be later than the entry's own. */
  readonly #committed = new Map<number, { term: number; hash: number; by: number }>();
  readonly #stateAt = new Map<number, number>();
  readonly #acknowledged = new Map<number, { index: number; hash: number }>();
  maxCommitted = 0;
  highestAcknowledged = 0;
  elections = 0;

  /** I1, I2, I6, I7 and what the others need. @returns true if this master has just become leader */
  check(id: string, driver: RaftDriver, seen: Seen): boolean {
    const { state, role } = driver;
    const length = lastIndex(state.log);
    if (state.commitIndex < seen.commit) throw new Violation("I6", `${id}'s commit index falls`);
    if (state.appliedIndex < seen.applied) throw new Violation("I6", `${id}'s applied index falls`);
    if (state.appliedIndex > Math.min(state.commitIndex, length))
      throw new Violation("I6", `${id} applied ${state.appliedIndex}, committed ${state.commitIndex}`);
    if (state.term < seen.term) throw new Violation("I7", `${id}'s term falls`);
    const isNewLeader = role === "leader" && (seen.role !== "leader" || seen.term !== state.term);
    if (isNewLeader) this.#checkNewLeader(id, driver);
    if (role === "leader" && !isNewLeader && length < seen.length)
      throw new Violation("I2", `${id} shortens its own log while it leads`);
    if (state.commitIndex > seen.commit || isNewLeader) this.#checkCommitted(id, driver, seen.commit);
    for (let index = Math.max(seen.length, state.log.baseIndex) + 1; index <= length; index++)
      this.#checkEntry(driver, index);
    seen.role = role;
    seen.term = state.term;
    seen.commit = state.commitIndex;
    seen.applied = state.appliedIndex;
    seen.length = length;
    return isNewLeader;
  }

  /** I1 one leader a term, I4 with everything that was committed in earlier terms, however late it learns that it leads. */
  #checkNewLeader(id: string, { state: { term, log } }: RaftDriver): void {
    this.elections++;
    const other = this.#leaderOfTerm.get(term);
    if (other !== undefined && other !== id) throw new Violation("I1", `${other} and ${id} lead term ${term}`);
    this.#leaderOfTerm.set(term, id);
    for (let index = Math.max(1, log.baseIndex); index <= this.maxCommitted; index++) {
      const committed = this.#committed.get(index);
      if (committed && committed.by < term && termAt(log, index) !== committed.term)
        throw new Violation("I4", `${id} leads term ${term} without committed entry ${index}`);
    }
  }

  /** I3: entries with the same index and term are the same, and so is everything before them. */
  #checkEntry({ state: { log } }: RaftDriver, index: number): void {
    const entry = entryAt(log, index) as RaftEntry;
    const key = `${index}/${entry.term}`;
    const hash = Bun.hash.crc32(entry.data, termAt(log, index - 1) ?? 0);
    const known = this.#entryHash.get(key);
    if (known === undefined) this.#entryHash.set(key, hash);
    else if (known !== hash) throw new Violation("I3", `two entries ${key}`);
  }

  #checkCommitted(id: string, { state: { log, commitIndex, term } }: RaftDriver, from: number): void {
    for (let index = Math.max(from, log.baseIndex) + 1; index <= commitIndex; index++) {
      const entry = entryAt(log, index);
      if (!entry) throw new Violation("I6", `${id} commits ${index}, which it does not hold`);
      const hash = Bun.hash.crc32(entry.data);
      const known = this.#committed.get(index);
      if (known && (known.term !== entry.term || known.hash !== hash))
        throw new Violation("I5", `${id} commits another entry at ${index} than was committed before`);
      if (!known) this.#committed.set(index, { term: entry.term, hash, by: term });
    }
    this.maxCommitted = Math.max(this.maxCommitted, commitIndex);
  }

  /** I5, I6: everyone applies the same entries in the same order, and only what is on its own disk. */
  applied(id: string, disk: Disk, entry: RaftEntry): void {
    if (lastIndex(disk.log) < entry.index)
      throw new Violation("I6", `${id} applies ${entry.index}, which is not on its disk`);
    const known = this.#stateAt.get(entry.index);
    if (known !== undefined && known !== disk.state.hash)
      throw new Violation("I5", `${id} applies another entry at ${entry.index}`);
    this.#stateAt.set(entry.index, disk.state.hash);
  }

  acknowledged(commandId: number, entry: RaftEntry): void {
    this.#acknowledged.set(commandId, { index: entry.index, hash: Bun.hash.crc32(entry.data) });
    this.highestAcknowledged = Math.max(this.highestAcknowledged, entry.index);
  }

  isAcknowledged(commandId: number): boolean {
    return this.#acknowledged.has(commandId);
  }

  get acknowledgements(): number {
    return this.#acknowledged.size;
  }

  /** I7: term and vote on disk never go back, across restarts too. */
  hardState(id: string, disk: Disk, hard: { term: number; vote: string | null }): void {
    if (hard.term < disk.term) throw new Violation("I7", `${id} lowers its term on disk`);
    if (hard.term === disk.term && disk.vote !== null && hard.vote !== disk.vote)
      throw new Violation("I7", `${id} changes its vote in term ${disk.term}`);
  }

  /**
   * I9: nothing leaves before what it promises is on disk. With a later term on disk, promises of the earlier one are
   * kept by it: no vote is given there any more, and entries were only overwritten by a leader whom they did not bind.
   */
  sent(id: string, disk: Disk, message: RaftMessage): void {
    if (PROMISES.has(message.type) && disk.term < message.term)
      throw new Violation("I9", `${id} sends ${message.type} of term ${message.term} with ${disk.term} on disk`);
    const isSameTerm = disk.term === message.term;
    if (message.type === "rpc.voteReply" && message.granted && isSameTerm && disk.vote !== message.to)
      throw new Violation("I9", `${id} grants a vote that is not on its disk`);
    if (message.type === "rpc.vote" && isSameTerm && disk.vote !== id)
      throw new Violation("I9", `${id} campaigns before its own vote is on disk`);
    if (message.type === "rpc.appendReply" && message.success && isSameTerm && lastIndex(disk.log) < message.match)
      throw new Violation("I9", `${id} confirms ${message.match} with ${lastIndex(disk.log)} on disk`);
  }

  /** I10: a read that was confirmed sees every change that was acknowledged before it was asked. */
  readAnswered(id: string, index: number, floor: number): void {
    if (index < floor)
      throw new Violation("I10", `${id} answers a read at ${index}; ${floor} was acknowledged before it was asked`);
  }

  /** I8: what was acknowledged is committed, as it was. */
  checkAcknowledged(): void {
    for (const [commandId, { index, hash }] of this.#acknowledged)
      if (this.#committed.get(index)?.hash !== hash)
        throw new Violation("I8", `command ${commandId} was acknowledged at ${index}, and something else is there`);
  }
}
