/** Invariants: counted, told before they are thrown, and the end of a node that breaks one. */
import { expect, test } from "bun:test";
import { ExitCode } from "../../actors/node/lifecycle.ts";
import {
  declaredInvariants,
  declareInvariant,
  type Invariant,
  InvariantBroken,
  whenBroken,
} from "../../actors/rules/invariant.ts";

const LIFECYCLE = new URL("../../actors/node/lifecycle.ts", import.meta.url).pathname;
const INVARIANT = new URL("../../actors/rules/invariant.ts", import.meta.url).pathname;
const LOG = new URL("../../actors/node/log.ts", import.meta.url).pathname;

test("an invariant counts its evaluations, and one that breaks names its claim and values", () => {
  const even: Invariant = declareInvariant("test: n is even");
  even.check(true, { n: 2 });
  const heard: InvariantBroken[] = [];
  const leave = whenBroken((broken) => heard.push(broken));
  expect(() => even.check(false, { n: 3 })).toThrow('invariant broken: test: n is even {"n":3}');
  leave();
  expect(() => even.check(false, { n: 5 })).toThrow(InvariantBroken);
  expect(heard.map(({ claim, values }) => ({ claim, values }))).toEqual([
    { claim: "test: n is even", values: { n: 3 } },
  ]);
  expect(declaredInvariants().get("test: n is even")?.evaluations).toBe(3);
  expect(() => declareInvariant("test: n is even")).toThrow("declared twice");
});

test("a node with a broken invariant ends with its own code, also where the exception is caught, and its log says which", async () => {
  const program = `
    import { stopOnBrokenInvariant } from ${JSON.stringify(LIFECYCLE)};
    import { createLogger } from ${JSON.stringify(LOG)};
    import { declareInvariant } from ${JSON.stringify(INVARIANT)};
    stopOnBrokenInvariant(createLogger("node-1", "info"));
    try { declareInvariant("test: held >= 0").check(false, { held: -1 }); } catch {}
    console.log("went on");
  `;
  const node = Bun.spawn([process.execPath, "-e", program], { stdout: "pipe", stderr: "pipe" });
  const [exitCode, output] = await Promise.all([node.exited, new Response(node.stdout).text()]);
  expect(exitCode).toBe(ExitCode.invariantBroken);
  expect(
    output
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line)),
  ).toMatchObject([{ event: "invariant-broken", claim: "test: held >= 0", values: { held: -1 } }]);
});
