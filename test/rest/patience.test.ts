/** `Prefer: wait=SECONDS`: how long a client is willing to wait for a leader. */
import { expect, test } from "bun:test";
import { preferredWait } from "../../gateway/http/prefer-wait.ts";
import { askedWaitMs } from "../../gateway/ports/asked-wait.ts";
import { restGateway } from "../support/rest-gateway.ts";

test("F13. the preference is read among others, in whole seconds up to a minute; what is ill-formed is passed over, as RFC 7240 wants", () => {
  for (const [prefer, seconds] of [
    ["wait=10", 10],
    ["respond-async, wait=7", 7],
    ['wait="3"; foo', 3],
    ["Wait = 0", 0],
    ["wait=100000", 60],
    ["wait=-1", null],
    ["wait=soon", null],
    ["nowait=5", null],
    ["", null],
  ] as const)
    expect([prefer, preferredWait(prefer)]).toEqual([prefer, seconds]);
  expect(preferredWait(null)).toBeNull();
});

test("F13. it reaches the search for a leader, for the request that carries it alone, and the answer says that it was heard", async () => {
  await using gateway = await restGateway();
  const { call, data } = gateway;
  const asked: (number | null)[] = [];
  const { list } = data.namespace;
  data.namespace.list = async (page) => {
    await Bun.sleep(1);
    asked.push(askedWaitMs());
    return list(page);
  };
  const answers = await Promise.all([
    call("GET", "/files", { headers: { prefer: "wait=10" } }),
    call("GET", "/files"),
    call("GET", "/files", { headers: { prefer: "wait=600" } }),
  ]);
  expect(answers.map(({ headers }) => headers.get("preference-applied"))).toEqual(["wait=10", null, "wait=60"]);
  expect(asked.toSorted((a, b) => Number(a) - Number(b))).toEqual([null, 10_000, 60_000]);
  const refused = await call("GET", "/files?limit=0", { headers: { prefer: "wait=3" } });
  expect([refused.status, refused.headers.get("preference-applied")]).toEqual([400, "wait=3"]);
});
