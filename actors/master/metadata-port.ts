/**
 * What the leader's work needs of the metadata, and nothing of how masters agree on it: the work in `leading/` knows this
 * port alone. `group/raft-metadata.ts` is behind it.
 *
 * Reads answer at once, from what is applied here; `confirmRead` first, where an answer must include every change that was
 * acknowledged before.
 */
import type { Queries, StateReader } from "../../databases/metadata/store.ts";
import type { TouchedSets } from "../../databases/metadata/touched-sets.ts";
import type { Command, CommandResult, ValueOf } from "../messages/commands.ts";
import type { NodeId } from "../messages/primitives.ts";
import type { Proposal } from "../rules/decide/exactly-once.ts";

export type { Queries } from "../../databases/metadata/store.ts";
export type { TouchedSets } from "../../databases/metadata/touched-sets.ts";

/** What a command did, and where in the log it stands. */
export interface Outcome {
  result: CommandResult;
  index: number;
}

export interface MetadataPort extends StateReader {
  readonly queries: Queries;
  /** The term in which this master leads, which fences its orders. */
  readonly term: number;
  readonly appliedIndex: number;
  /** ms; stands still while there is no leader. Leases end by it. */
  readonly logTime: number;
  /** The cluster version in force. */
  readonly version: number;
  /**
   * Tells of every replica set that is touched from now on, as soon as what touched it is applied.
   * @returns ends it
   */
  watchSets(listener: (touched: TouchedSets) => void): () => void;
  /** The masters that keep the metadata now. */
  members(): NodeId[];
  /** Of them, those whose flush counts for a command. While their group changes, of the smaller one. */
  voters(): NodeId[];
  /**
   * Puts a command into the log. Resolves when it is committed and applied; a refusal by `decide` is a result.
   * @throws NOT_LEADER, OVERLOADED, VERSION_TOO_LOW, NOT_READY
   */
  execute(proposal: Proposal): Promise<Outcome>;
  /** The leader's own commands. @throws Refusal with the code of a refused one */
  propose<C extends Command>(command: C): Promise<ValueOf<C["type"]>>;
  /** Resolves when what is applied here includes every change acknowledged before the call. @throws NOT_LEADER */
  confirmRead(): Promise<void>;
}
