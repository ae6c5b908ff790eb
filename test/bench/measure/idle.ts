/** A whole cluster as it is shipped, and nobody asks for anything: what its processes spend, and the memory they hold. */
import type { RealCluster } from "../../support/real-cluster.ts";
import { MiB } from "../arithmetic.ts";
import { type ApartMeasurement, type ApartSession, AS_SHIPPED, type Figure, figuresOf } from "../measurement.ts";
import { proportionalBytes } from "../process-accounting.ts";
import { allOf, countFrom, eachOf, NODE_KINDS, nodesOf } from "../spent-cpu.ts";

/** What a start leaves to be done: sessions, the first records, safe mode. */
const SETTLE_MS = 10_000;

const memoryOf = (cluster: RealCluster): number | null =>
  cluster
    .pids()
    .map(({ pid }) => proportionalBytes(pid))
    .reduce((sum, bytes) => (sum === null || bytes === null ? null : sum + bytes), 0);

async function runApart(session: ApartSession): Promise<Figure[]> {
  const { sizes, say } = session;
  return session.withClusters([AS_SHIPPED], async (cluster) => {
    say("settling");
    await Bun.sleep(SETTLE_MS);
    const nodes = await nodesOf(cluster);
    say(`nothing happens for ${sizes.idleMs / 1000} s`);
    const since = countFrom(nodes);
    const began = performance.now();
    await Bun.sleep(sizes.idleMs);
    const spent = since();
    const seconds = (performance.now() - began) / 1000;
    const share = (cpu: number | null): number | null => (cpu === null ? null : (100 * cpu) / seconds);
    const memory = memoryOf(cluster);
    const note = `over ${Math.round(seconds)} s`;
    return figuresOf(
      session,
      {
        id: "idle.cpu",
        label: `idle, all ${nodes.length} processes`,
        value: share(allOf(spent)),
        unit: "% of a core",
        note,
      },
      ...NODE_KINDS.map((kind) => ({
        id: `idle.cpu.${kind}`,
        label: `idle, ${kind === "gateway" || kind === "leader" ? "the" : "each"} ${kind}`,
        value: share(eachOf(spent, kind)),
        unit: "% of a core",
      })),
      {
        id: "idle.memory",
        label: "idle, memory of all (PSS)",
        value: memory === null ? null : memory / MiB,
        unit: "MiB",
      },
    );
  });
}

export const idle: ApartMeasurement = { name: "idle", title: "Doing nothing", where: "disk", runApart };
