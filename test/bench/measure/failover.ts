/** The leader is killed, again and again: how long until a write is acknowledged again. */
import type { RealCluster } from "../../support/real-cluster.ts";
import { median } from "../arithmetic.ts";
import { type ApartMeasurement, type ApartSession, type Figure, figuresOf } from "../measurement.ts";

const MASTERS = 3;
const PATIENCE_MS = 30_000;
/** A client that does not know of the death: it sends, is refused or waits, and sends again. */
const ATTEMPT_MS = 20_000;
const PAUSE_MS = 20;

async function untilWritten(cluster: RealCluster, name: string): Promise<number> {
  const began = performance.now();
  while (performance.now() - began < PATIENCE_MS) {
    const answer = await fetch(cluster.fileUrl(`bench/failover/${name}`), {
      method: "PUT",
      body: new Uint8Array(0),
      signal: AbortSignal.timeout(ATTEMPT_MS),
    }).catch(() => null);
    if (answer?.ok) return performance.now() - began;
    await Bun.sleep(PAUSE_MS);
  }
  throw new Error(`No write was taken within ${PATIENCE_MS} ms of a leader's death`);
}

/** Everyone is back and has caught up, so that the next death finds the group as the first did. */
const untilWhole = (cluster: RealCluster): Promise<number> =>
  cluster.until("all masters take part", PATIENCE_MS, async () => {
    const { leader, masters } = await cluster.view();
    return (
      leader !== null && masters.length === MASTERS && masters.every(({ role, lag }) => role !== null && lag === 0)
    );
  });

async function runApart(session: ApartSession): Promise<Figure[]> {
  const { sizes, say } = session;
  return session.withClusters([{ masters: MASTERS, workers: 2 }], async (cluster) => {
    await untilWritten(cluster, "warm-up");
    const took: number[] = [];
    for (let n = 1; n <= sizes.failovers; n++) {
      await untilWhole(cluster);
      const { leader } = await cluster.view();
      if (leader === null) throw new Error("No master leads");
      await cluster.kill(leader);
      took.push(await untilWritten(cluster, String(n)));
      say(`${n} of ${sizes.failovers}: ${leader} died, ${Math.round(took.at(-1) as number)} ms until the next write`);
      cluster.restart(leader);
    }
    const { electionMs } = cluster.config.raft;
    const note = `${sizes.failovers} leaders killed; an election begins after ${electionMs} to ${2 * electionMs} ms`;
    return figuresOf(
      session,
      {
        id: "failover.median",
        label: "from the leader's death to a write, median",
        value: median(took),
        unit: "ms",
        note,
      },
      { id: "failover.least", label: "the shortest", value: Math.min(...took), unit: "ms" },
      { id: "failover.most", label: "the longest", value: Math.max(...took), unit: "ms" },
    );
  });
}

export const failover: ApartMeasurement = {
  name: "masters-failover",
  title: "Death of the leader",
  where: "disk",
  runApart,
};
