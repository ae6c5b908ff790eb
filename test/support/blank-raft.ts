/** A master that has just been made, as its driver finds it. */
import type { RecoveredRaft } from "../../actors/master/group/raft-driver.ts";
import type { Configuration } from "../../actors/messages/raft.ts";
import { emptyLog } from "../../actors/rules/raft/log-tail.ts";

export const blankRaft = (configuration: Configuration): RecoveredRaft => ({
  term: 0,
  vote: null,
  log: emptyLog(),
  appliedIndex: 0,
  configuration,
  configurationIndex: 0,
  earlierConfigurations: [],
});
