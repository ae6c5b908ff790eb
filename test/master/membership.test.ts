/** Masters that are added and do not come. */
import { afterEach, expect, test } from "bun:test";
import { createLogger } from "../../actors/node/log.ts";
import { EngineGroup } from "../support/engine-group.ts";

let group: EngineGroup;
afterEach(() => group?.close());

test("18d. a master that is added and does not answer stays a learner, hinders nobody, and is taken off again", async () => {
  const log = createLogger("group", "silent");
  const told: unknown[] = [];
  log.error = ((fields: unknown) => void told.push(fields)) as typeof log.error;
  group = new EngineGroup({ patience: { silentMs: 700, roundMs: 1e9, slowRounds: 10 }, log });
  const { id } = (await group.untilLeader()).raft.state;
  // Until the members have told where they are, a change of the leader's own may be under way.
  const add = () => group.member(id).membership?.change("addLearner", "master-9", "http://nowhere");
  await group.until(
    "it is added",
    () =>
      add()?.then(
        () => true,
        () => false,
      ) ?? false,
  );
  const configuration = () => group.engine(id).raft.state.configuration;
  expect(configuration().learners).toEqual(["master-9"]);
  for (const path of ["a", "b", "c"]) await group.propose({ type: "MAKE_DIRECTORY", path });
  await group.until("it is taken off", () => configuration().learners.length === 0);
  expect(configuration().voters).toEqual([["master-1", "master-2", "master-3"]]);
  expect(configuration().retired ?? []).toEqual([]);
  expect(told).toContainEqual(expect.objectContaining({ event: "learner-given-up", master: "master-9" }));
});
