/** A metadata engine of a group of one, on real files, that leads as soon as it is started. */
import { type EngineOptions, RaftMetadata } from "../../actors/master/group/raft-metadata.ts";
import type { Clock } from "../../actors/node/clock.ts";
import { until } from "./fair-time.ts";

const fail = (cause: unknown): never => {
  throw cause;
};

/** A clock that goes as this machine's does, and leaps when it is told to. */
export function leapingClock(): Clock & { leap(ms: number): void } {
  let aheadMs = 0;
  return {
    now: () => performance.now() + aheadMs,
    wallTime: () => Date.now(),
    setTimeout: (callback, ms) => setTimeout(callback, ms),
    clearTimeout: (handle) => clearTimeout(handle as Timer),
    leap: (ms) => {
      aheadMs += ms;
    },
  };
}

export function loneEngine(
  dataDirectory: string,
  clusterId = "c",
  keepEntries = 10_000,
  clock?: Clock,
  onFailure: (cause: unknown) => void = fail,
  more: Partial<EngineOptions> = {},
): RaftMetadata {
  const configuration = { voters: [["master-1"]], learners: [] };
  return new RaftMetadata({
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
    onFailure,
    clock,
    ...more,
  });
}

/** Until its term's first entry is applied. */
export async function untilReady(engine: RaftMetadata): Promise<RaftMetadata> {
  engine.start();
  await until("the engine is ready", () => engine.raft.isReady, { pollMs: 1 });
  return engine;
}
