/** A metadata engine of a group of one, on real files, that leads as soon as it is started. */
import { MetadataEngine } from "../../actors/master/engine.ts";

const fail = (cause: unknown): never => {
  throw cause;
};

export function loneEngine(dataDirectory: string, clusterId = "c", keepEntries = 10_000): MetadataEngine {
  const configuration = { voters: [["master-1"]], learners: [] };
  return new MetadataEngine({
    dataDirectory,
    genesis: { clusterId, nodeId: "master-1", configuration },
    timings: { heartbeatMs: 100, electionMs: 1000 },
    keepEntries,
    send: () => {},
    urlOf: () => null,
    leaderChanged: () => {},
    sendSnapshot: () => {},
    installSnapshot: () => {},
    neededFrom: () => Number.POSITIVE_INFINITY,
    onFailure: fail,
  });
}

/** Until its term's first entry is applied. */
export async function untilReady(engine: MetadataEngine): Promise<MetadataEngine> {
  engine.start();
  for (let n = 0; !engine.raft.isReady && n < 1000; n++) await Bun.sleep(1);
  return engine;
}
