/** Below the ports that systems hand to outgoing connections: one of those may be taken again at any moment. */
const [LOWEST, BEYOND] = rangeOf(Bun.env.BUN_TEST_WORKER_ID);

/** Test files that run at the same time draw from ranges of their own: a port that is free may be in another's hand. */
function rangeOf(worker: string | undefined): [number, number] {
  if (worker === undefined) return [12_000, 32_000];
  const lowest = 12_000 + ((Number(worker) - 1) % 8) * 2500;
  return [lowest, lowest + 2500];
}

/** Ports that are free now, drawn by chance, so that suites which run at the same time do not meet. */
export function freePorts(count: number): number[] {
  const listeners = new Map<number, { stop(closeConnections: boolean): void }>();
  for (let tries = 0; listeners.size < count; tries++) {
    if (tries > 50 * count + 1000) throw new Error(`No ${count} free ports between ${LOWEST} and ${BEYOND}`);
    const port = LOWEST + Math.floor(Math.random() * (BEYOND - LOWEST));
    if (listeners.has(port)) continue;
    try {
      listeners.set(port, Bun.listen({ hostname: "127.0.0.1", port, socket: { data() {} } }));
    } catch {
      // Somebody listens there: another draw.
    }
  }
  for (const listener of listeners.values()) listener.stop(true);
  return [...listeners.keys()];
}
