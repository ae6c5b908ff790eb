/** A master that has just been made, as its driver finds it, and a driver's ports where nothing but the driver is looked at. */
import type { RaftDriverPorts } from "../../actors/master/group/raft-driver.ts";
import type { Configuration } from "../../actors/messages/raft.ts";
import { emptyLog } from "../../actors/rules/raft/log-tail.ts";
import type { RecoveredRaft } from "../../actors/rules/raft/state.ts";

export const blankRaft = (configuration: Configuration): RecoveredRaft => ({
  term: 0,
  vote: null,
  log: emptyLog(),
  appliedIndex: 0,
  configuration,
  configurationIndex: 0,
  earlierConfigurations: [],
});

/** A disk that is at once done, chance that is always the middle, and nobody who hears of anything; a failure is thrown. */
export const stillPorts = (others: Pick<RaftDriverPorts, "clock"> & Partial<RaftDriverPorts>): RaftDriverPorts => ({
  random: () => 0.5,
  mayLead: () => true,
  send: () => {},
  flush: (_, done) => done(),
  defer: (callback) => callback(),
  apply: () => {},
  proposed: () => {},
  readReady: () => {},
  leaderChanged: () => {},
  sendSnapshot: () => {},
  installSnapshot: () => {},
  failed: (cause) => {
    throw cause;
  },
  ...others,
});
