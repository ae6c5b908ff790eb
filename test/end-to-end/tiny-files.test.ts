/** Tiny files on a real cluster: they need no worker, live as long as the masters do, and go to workers where they must. */
import { afterAll, expect, test } from "bun:test";
import { TINY_SINCE } from "../../actors/rules/decide/cluster-version.ts";
import { RealCluster } from "../support/real-cluster.ts";

const cluster = await RealCluster.start({ masters: 3, workers: 3, config: { tinyFileBytes: 4096 } });
afterAll(() => cluster.stop());
// The masters raise it soon after they have begun; whoever asks for the cluster's state, the gateway learns it.
await cluster.until("the masters agree on a version", 20_000, async () => {
  const { version = 0 } = (await cluster.view()) as { version?: number };
  return version >= TINY_SINCE;
});

const put = (path: string, body: BodyInit, query = "") =>
  fetch(`${cluster.fileUrl(path)}${query}`, { method: "PUT", body });
const explain = async (path: string) =>
  (await (await fetch(`${cluster.fileUrl(path)}?explain`)).json()) as { storage: string; masters?: string[] };
const get = (path: string, init?: RequestInit) => fetch(cluster.fileUrl(path), init);

test("a file of up to tinyFileBytes lies on all masters, a longer one on workers", async () => {
  await put("tiny", "x".repeat(4096));
  await put("longer", "x".repeat(4097));
  expect(await explain("tiny")).toMatchObject({ storage: "metadata", masters: ["master-1", "master-2", "master-3"] });
  expect(await explain("longer")).toMatchObject({ storage: "workers" });
  expect(await cluster.chunks("tiny")).toEqual([]);
  expect(await cluster.chunks("longer")).toHaveLength(1);
});

test("a file that wants more copies than there are masters goes to workers", async () => {
  expect((await put("five", "x", "?replication=5")).status).toBe(201);
  expect(await (await get("five")).text()).toBe("x");
  expect(await explain("five")).toMatchObject({ storage: "workers" });
});

test("it is read whole, in ranges and by its description, from the leader and from any master", async () => {
  await put("f", "0123456789");
  expect(await (await get("f")).text()).toBe("0123456789");
  expect(await (await get("f", { headers: { range: "bytes=2-4" } })).text()).toBe("234");
  expect(await (await get("f", { headers: { range: "bytes=0-1,8-" } })).text()).toMatch(
    /\r\n\r\n01\r\n[\s\S]*\r\n\r\n89\r\n/,
  );
  expect((await get("f", { method: "HEAD" })).headers.get("content-length")).toBe("10");
  expect(await (await fetch(`${cluster.fileUrl("f")}?consistency=eventual`)).text()).toBe("0123456789");
});

test("it is replaced by a file of chunks and the other way round", async () => {
  const large = "y".repeat(100_000);
  for (const content of ["tiny", large, "tiny again"]) {
    expect((await put("both", content)).ok).toBe(true);
    expect(await (await get("both")).text()).toBe(content);
  }
});

test("with all workers gone it is written, read and deleted; no other file is", async () => {
  for (const id of ["worker-1", "worker-2", "worker-3"]) await cluster.kill(id);
  expect((await put("alone", "x")).status).toBe(201);
  expect(await (await get("alone")).text()).toBe("x");
  expect((await fetch(cluster.fileUrl("alone"), { method: "DELETE" })).status).toBe(204);
  await cluster.until("no worker is live", 20_000, async () =>
    (await cluster.view()).workers.every(({ state }) => state === "dead"),
  );
  expect((await put("large", "x".repeat(5000))).status).toBe(503);
});

test("a leader's sudden end loses none", async () => {
  const names = Array.from({ length: 50 }, (_, n) => `many/${n}`);
  await Promise.all(names.map((name) => put(name, name)));
  const { leader } = await cluster.view();
  await cluster.kill(leader as string);
  for (const name of names) expect(await (await get(name)).text()).toBe(name);
});
