/** A cluster in memory for each test that starts one, and the file that most of them are about. */
import { afterEach, expect } from "bun:test";
import { bodyOf, sampleBytes } from "../support/bodies.ts";
import { CHUNK, type ClusterOptions, GatewayCluster } from "../support/gateway-cluster.ts";

/** That of the test under way. */
export let cluster: GatewayCluster;
export const startCluster = async (options: ClusterOptions = {}): Promise<void> => {
  cluster = await new GatewayCluster(options).up();
};

/** Of each file that starts clusters: after each test nothing is held, and its cluster goes. */
export const stopAfterEach = (): void =>
  afterEach(async () => {
    expect(cluster.data.transfers.activity()).toMatchObject({ bufferBytesInUse: 0, uploads: [], downloads: [] });
    await cluster.stop();
  });

export const bytes = sampleBytes(2 * CHUNK + 100);
export const put = (content = bytes, more = {}) =>
  cluster.data.transfers.put({ path: "file", body: bodyOf(content), lengthBytes: content.length, ...more });
/** How many copies each chunk of the file has. */
export const copies = () => cluster.locate("file").chunks.map(({ workerIds }) => workerIds.length);
