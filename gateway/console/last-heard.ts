/**
 * When other nodes last heard of a process: its own last records may be lost with it, because they were not fetched before
 * it was killed. Pure; runs in a browser.
 */
import type { StepRecord } from "./api.ts";

/** One process: one start of a node. */
export interface Life {
  n: string;
  b: number;
}

/** Events that a message causes as it arrives; its other effects may come much later. */
const isArrival = ({ m, e }: StepRecord): boolean =>
  (m === "raft" && e.startsWith("rpc.")) ||
  (m === "liveness" && e === "HEARTBEAT") ||
  (m === "worker" && (e === "ACKNOWLEDGED" || e === "REGISTERED"));

/**
 * @returns which process this record shows to have been alive, if it is another's: the sender of the message that arrived.
 *   `b` is 0 where the record does not say which start of it that was.
 */
export function heardOf(record: StepRecord): Life | null {
  if (!isArrival(record)) return null;
  const { n, m, s, w } = record;
  const [sender, boot] = w?.split("/") ?? [];
  if (sender !== undefined && sender !== n) return { n: sender, b: Number(boot) };
  return m === "liveness" && s !== n ? { n: s, b: 0 } : null;
}

/** How long after its own time a counted record was last true, ms. */
export const repeatedMs = ({ t, l }: StepRecord): number => (l === undefined ? 0 : Math.max(0, l - t));

/** @returns ms since the epoch, by the clocks of those who heard it; null: no node did */
export function lastHeardMs(records: readonly StepRecord[], { n, b }: Life): number | null {
  let last: number | null = null;
  for (const record of records) {
    const heard = heardOf(record);
    if (heard?.n !== n || heard.b !== b) continue;
    last = Math.max(last ?? 0, record.t + repeatedMs(record));
  }
  return last;
}
