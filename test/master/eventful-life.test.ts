/** The history that all stores are judged by leaves no kind of write out. */
import { expect, test } from "bun:test";
import { RULES, type Rules } from "../../actors/rules/decide/exactly-once.ts";
import { WRITES } from "../../databases/metadata/statements.ts";
import { eventfulLife } from "../support/eventful-life.ts";
import { MetadataHarness } from "../support/metadata-harness.ts";

/** Notes the names of all writes on the way. */
function watched(names: Set<string>): Rules {
  return {
    ...RULES,
    *decide(proposal, env) {
      const decision = yield* RULES.decide(proposal, env);
      for (const [name] of decision.writes) names.add(name);
      return decision;
    },
  };
}

test("the history of test/support/eventful-life.ts makes every write that there is", () => {
  const names = new Set<string>();
  eventfulLife(new MetadataHarness(undefined, watched(names)));
  expect([...names].sort()).toEqual(Object.keys(WRITES).sort());
});
