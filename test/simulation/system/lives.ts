/** Lives of whole clusters, for `bun run simulate`: in threads of their own, for their globals are not those of the rest. */
import { formatRecording } from "../../../gateway/console/recording.ts";
import { askWorker, type Lives, type Thread, type Told } from "../lives.ts";
import type { LifeOrder } from "./life-worker.ts";
import type { RecordedSystemLife } from "./record-system.ts";
import { shrinkSystem } from "./shrink-system.ts";
import type { SystemFailure, SystemLife } from "./simulate-system.ts";

const PATIENCE_MS = 120_000;
/** For somebody who asked for this one life. */
const LONG_PATIENCE_MS = 3_600_000;

type Unrecorded = Omit<LifeOrder, "record">;

export class LifeThread {
  readonly #worker = new Worker(new URL("./life-worker.ts", import.meta.url).href);

  /** @returns null if the life was not over in time; the thread is of no use then */
  live(order: Unrecorded, patienceMs?: number): Promise<SystemLife | SystemFailure | null> {
    return this.#order({ ...order, record: false }, patienceMs);
  }

  /** The same life, and a recording of it. */
  record(order: Unrecorded, patienceMs?: number): Promise<RecordedSystemLife | null> {
    return this.#order({ ...order, record: true }, patienceMs);
  }

  #order<T>(order: LifeOrder, patienceMs = PATIENCE_MS): Promise<T | null> {
    return askWorker<T>(this.#worker, order, patienceMs);
  }

  end(): void {
    this.#worker.terminate();
  }
}

function toldOf(life: SystemLife | SystemFailure): Told {
  if (!("rule" in life)) {
    const { seed: _, ...counts } = life;
    return { counts, isCutShort: false, failure: null, shrink: async () => ({}) };
  }
  return {
    counts: {},
    isCutShort: false,
    failure: life,
    async shrink() {
      let thread = new LifeThread();
      const { seed, message, knobs, stormMs, plan } = await shrinkSystem(life, async (order) => {
        const smaller = await thread.live(order);
        if (smaller === null) {
          thread.end();
          thread = new LifeThread();
        }
        return smaller;
      });
      thread.end();
      return { seed, found: message, knobs, stormMs, plan };
    },
  };
}

/**
 * Lives one seed after the other. What breaks a rule is lived again by itself, and counts only if it breaks there too: the
 * engine's memory is the one thing that lives of one thread share, and when it collects garbage is not ours to say.
 */
function clusterThread(): Thread {
  let thread = new LifeThread();
  return {
    async live(seed) {
      const life = await thread.live({ seed });
      if (life === null || !("rule" in life)) return life && toldOf(life);
      thread.end();
      thread = new LifeThread();
      const again = await thread.live({ seed });
      if (again === null || "rule" in again) return again && toldOf(again);
      const told = toldOf(again);
      return { ...told, counts: { ...told.counts, unrepeated: 1 } };
    },
    end: () => thread.end(),
  };
}

export const CLUSTERS: Lives = {
  thread: clusterThread,
  async replay(seed, isRecorded) {
    const thread = new LifeThread();
    const recorded = await thread.record({ seed }, LONG_PATIENCE_MS);
    thread.end();
    if (recorded === null) throw new Error(`seed ${seed} does not end`);
    const { life, recording } = recorded;
    return {
      steps: recording.records
        .filter(({ f, k }) => f !== undefined || k === "proc")
        .map(({ t, n, b, e, f, v }) => `${t.toFixed(1).padStart(9)} ms  ${n}/${b}  ${e}: ${f ?? ""} → ${v}`),
      recording: isRecorded ? formatRecording(recording) : null,
      told: toldOf(life),
    };
  },
};
