/** Majority arithmetic. A configuration is a list of voter sets; a quorum is a majority of each of them. */

import type { NodeId } from "../../messages/primitives.ts";
import type { Configuration } from "../../messages/raft.ts";

export const majorityOf = (count: number): number => Math.floor(count / 2) + 1;

export const isVoter = (configuration: Configuration, id: NodeId): boolean =>
  configuration.voters.some((set) => set.includes(id));

export const votersOf = (configuration: Configuration): NodeId[] => [...new Set(configuration.voters.flat())];

/** Everyone who gets the log: voters and learners. */
export const membersOf = (configuration: Configuration): NodeId[] => [
  ...new Set([...configuration.voters.flat(), ...configuration.learners]),
];

/** Is there a majority of every voter set for which `yes` holds? */
export const hasQuorum = (configuration: Configuration, yes: (id: NodeId) => boolean): boolean =>
  configuration.voters.every((set) => set.filter(yes).length >= majorityOf(set.length));

/** Can there be no majority any more, now that these have said no? */
export const isHopeless = (configuration: Configuration, no: (id: NodeId) => boolean): boolean =>
  configuration.voters.some((set) => set.filter((id) => !no(id)).length < majorityOf(set.length));

/** The largest value that a quorum has reached. */
export const quorumValue = (configuration: Configuration, reached: (id: NodeId) => number): number =>
  Math.min(
    ...configuration.voters.map((set) => {
      const values = set.map(reached).sort((a, b) => b - a);
      return values[majorityOf(set.length) - 1] as number;
    }),
  );
