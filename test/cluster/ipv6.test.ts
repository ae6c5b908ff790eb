/** Addresses of IPv6, from the configuration to the bytes of a file. */
import { afterEach, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { createClient } from "../../gateway/client/client.ts";
import { runDfs } from "../support/command-line.ts";
import { endCluster, launch, type SmallCluster, smallCluster } from "../support/launcher.ts";

const isThere = Object.values(networkInterfaces()).some((addresses) =>
  addresses?.some(({ address }) => address === "::1"),
);
let cluster: SmallCluster | undefined;
afterEach(() => endCluster(cluster));

test.skipIf(!isThere)("a cluster whose nodes all have IPv6 addresses stores a file and gives it back", async () => {
  cluster = smallCluster({ host: "[::1]" });
  const launched = launch(cluster);
  await launched.until("Ctrl-C stops everything");
  const content = crypto.getRandomValues(new Uint8Array(60_000));
  writeFileSync(join(cluster.files, "bytes"), content);
  expect((await runDfs(cluster, "put", "bytes")).exitCode).toBe(0);
  const client = createClient({ url: cluster.url });
  expect(await new Response((await client.get("bytes")).body).bytes()).toEqual(content);
  const { workers, masters } = await client.cluster();
  expect(workers.map(({ state }) => state)).toEqual(["live", "live", "live"]);
  for (const { url } of [...workers, ...masters]) expect(url).toStartWith("http://[::1]:");
  const explained = await client.explain("bytes");
  expect(explained.chunks[0]?.replicas.map(({ state }) => state)).toEqual(["good", "good", "good"]);
  launched.child.kill("SIGINT");
  expect(await launched.exited).toBe(0);
});
