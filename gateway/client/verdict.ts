/** What can be said of the data in one honest sentence: for the command line and the console alike. */
import type { Cluster } from "./answers.ts";

export const counted = (n: number, word: string, plural = `${word}s`): string =>
  `${n.toLocaleString("en")} ${n === 1 ? word : plural}`;

export interface Verdict {
  /** `unknown` is not `ok`. */
  level: "ok" | "degraded" | "lost" | "unknown";
  sentence: string;
}

/** What can be said of the data, and nothing that cannot. Pure. */
export function verdictOf({ leader, steward, workers, redundancy, reasons }: Cluster): Verdict {
  const expected = workers.filter(({ mode }) => mode !== "removed");
  const live = expected.filter(({ state }) => state === "live").length;
  const ofWorkers = `${live} of ${counted(expected.length, "worker")} ${expected.length === 1 ? "is" : "are"} live`;
  if (leader === null) return { level: "unknown", sentence: "Unknown: no master leads." };

  const below = Object.entries(redundancy.below)
    .map(([copies, chunks]) => ({ copies: Number(copies), chunks }))
    .filter(({ chunks }) => chunks > 0)
    .sort((a, b) => a.copies - b.copies);
  const short = below.reduce((sum, { chunks }) => sum + chunks, 0);
  const detail = below.map(({ copies, chunks }) => `${chunks.toLocaleString("en")} with ${copies}`).join(", ");
  const { unknown = 0 } = redundancy;
  const pause = reasons.find(({ code }) => code === "REPAIR_PAUSED");
  const gone = below.find(({ copies }) => copies === 0)?.chunks ?? 0;

  if (steward === "safeMode")
    return {
      level: "unknown",
      sentence: `Unknown yet: the leader is new and still hears from the workers (${ofWorkers}).`,
    };
  if (gone > 0)
    return {
      level: "lost",
      sentence: `${counted(gone, "chunk")} ${gone === 1 ? "has" : "have"} no good copy now: files that need ${gone === 1 ? "it" : "them"} cannot be read whole. ${ofWorkers}.`,
    };
  if (unknown > 0)
    return {
      level: "unknown",
      sentence: `Unknown yet: ${counted(unknown, "chunk")} of ${redundancy.chunks.toLocaleString("en")} ${unknown === 1 ? "has" : "have"} copies on workers that the leader has not heard${short > 0 ? `; ${short.toLocaleString("en")} others have fewer good copies than wanted (${detail})` : ""}. ${ofWorkers}.`,
    };
  if (short > 0)
    return {
      level: "degraded",
      sentence: `${counted(short, "chunk")} ${short === 1 ? "has" : "have"} fewer good copies than wanted (${detail}); all can be read. ${ofWorkers}.${pause ? ` Repairs are paused: ${pause.message}.` : ""}`,
    };
  const bad =
    reasons.find(({ severity }) => severity === "error") ?? reasons.find(({ severity }) => severity === "warning");
  const whole =
    redundancy.chunks === 0
      ? "No data yet"
      : `${redundancy.chunks === 1 ? "The only chunk has" : `All ${counted(redundancy.chunks, "chunk")} have`} all wanted copies`;
  if (live < expected.length || bad)
    return {
      level: "degraded",
      sentence: `${whole}, but ${live < expected.length ? `only ${ofWorkers}` : bad?.message}.`,
    };
  return { level: "ok", sentence: `${whole}; ${ofWorkers}.` };
}
