/** The group of masters over REST: what is shown, what may be ordered, what is refused. */
import { afterAll, expect, test } from "bun:test";
import { problemOf, restGateway } from "../support/rest-gateway.ts";

const { call, data, end } = await restGateway();
afterAll(end);
const order = (body: unknown) =>
  call("POST", "/cluster/masters", { body: JSON.stringify(body), headers: { "content-type": "application/json" } });

test("the masters are shown one by one, with membership, role and lag", async () => {
  const response = await call("GET", "/cluster/masters");
  expect(response.headers.get("cache-control")).toBe("no-store");
  expect(await response.json()).toMatchObject({
    leader: "master-1",
    masters: [{ id: "master-1", member: "voter", role: "leader", lag: 0 }],
  });
});

test("an order names one change; anything else is refused, and an unknown master is told as such", async () => {
  expect((await order({ transfer: "master-1" })).status).toBe(200);
  for (const body of [{}, { add: "master-4" }, { remove: "Master 4" }, { add: "m", url: "7004" }, { promote: "m" }]) {
    const refused = await order(body);
    expect([refused.status, (await problemOf(refused)).code]).toEqual([400, "INVALID_BODY"]);
  }
  const unknown = await order({ remove: "master-9" });
  expect([unknown.status, (await problemOf(unknown)).code]).toEqual([404, "NO_SUCH_MASTER"]);
});

test("a backup is a stream of bytes, kept by no cache", async () => {
  data.operations.backup = async () => new Response("a backup").body as ReadableStream<Uint8Array>;
  const response = await call("GET", "/cluster/backup");
  expect(response.headers.get("content-type")).toBe("application/octet-stream");
  expect(response.headers.get("cache-control")).toBe("no-store");
  expect(await response.text()).toBe("a backup");
});

test("metrics tell each master's role and lag", async () => {
  const text = await (await call("GET", "/metrics")).text();
  expect(text).toContain('dfs_cluster_master_role{master="master-1",role="leader",gateway="gateway-1"} 1');
  expect(text).toContain('dfs_cluster_master_lag_entries{master="master-1",gateway="gateway-1"} 0');
});
