/** Lives of whole clusters, for `bun run simulate`: in threads of their own, for their globals are not those of the rest. */
import { formatRecording } from "../../../gateway/console/recording.ts";
import type { Lives, Thread, Told } from "../lives.ts";
import type { Evaluations } from "../thread-report.ts";
import { type Hang, WatchedThread } from "../watched-thread.ts";
import type { BegunLife, LifeAnswer, LifeOrder } from "./life-worker.ts";
import type { RecordedSystemLife } from "./record-system.ts";
import { shrinkSystem } from "./shrink-system.ts";
import type { SystemFailure, SystemLife } from "./simulate-system.ts";
import type { SystemKnobs } from "./system-knobs.ts";

/** Only a machine that is far too busy makes a life last so long: one that hangs is noticed by the CPU time that it uses. */
const PATIENCE_MS = 900_000;
/** For somebody who asked for this one life. */
const LONG_PATIENCE_MS = 3_600_000;

type Unrecorded = Omit<LifeOrder, "record">;

/** A thread for lives of whole clusters; one that hangs or takes too long is ended, and the next life gets another. */
export class LifeThread {
  readonly #evaluations: Evaluations;
  #thread: WatchedThread<LifeOrder, BegunLife, LifeAnswer> | null = null;

  /** @param evaluations of invariants, to which those of these lives are added */
  constructor(evaluations: Evaluations = {}) {
    this.#evaluations = evaluations;
  }

  /** @returns null if the life was not over in time */
  live(order: Unrecorded, patienceMs?: number): Promise<SystemLife | SystemFailure | null> {
    return this.#order({ ...order, record: false }, patienceMs) as Promise<SystemLife | SystemFailure | null>;
  }

  /** The same life, and a recording of it. @throws if it hangs: what it recorded is lost */
  async record(order: Unrecorded, patienceMs?: number): Promise<RecordedSystemLife | null> {
    const recorded = await this.#order({ ...order, record: true }, patienceMs);
    if (recorded && !("recording" in recorded)) throw new Error((recorded as SystemFailure).message);
    return recorded;
  }

  async #order(order: LifeOrder, patienceMs = PATIENCE_MS): Promise<LifeAnswer | null> {
    this.#thread ??= new WatchedThread(new URL("./life-worker.ts", import.meta.url).href, this.#evaluations);
    const outcome = await this.#thread.ask(order, patienceMs);
    if (outcome && "answer" in outcome) return outcome.answer;
    this.#thread = null;
    return outcome && failureOf(outcome.hang);
  }

  end(): void {
    this.#thread?.end();
    this.#thread = null;
  }
}

const failureOf = ({ begun, atMs, message }: Hang<BegunLife>): SystemFailure => ({
  ...begun,
  rule: "starved",
  message,
  atMs,
});

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
      const thread = new LifeThread();
      const { seed, message, knobs, stormMs, plan } = await shrinkSystem(life, (order) => thread.live(order));
      thread.end();
      return { seed, found: message, knobs, stormMs, plan };
    },
  };
}

/**
 * Lives one seed after the other. What breaks a rule is lived again by itself, and counts only if it breaks there too: the
 * engine's memory is the one thing that lives of one thread share, and when it collects garbage is not ours to say.
 */
function clusterThread(evaluations: Evaluations, order: Omit<Unrecorded, "seed"> = {}): Thread {
  const thread = new LifeThread(evaluations);
  return {
    async live(seed) {
      const life = await thread.live({ ...order, seed });
      if (life === null || !("rule" in life)) return life && toldOf(life);
      thread.end();
      const again = await thread.live({ ...order, seed });
      if (again === null || "rule" in again) return again && toldOf(again);
      const told = toldOf(again);
      return { ...told, counts: { ...told.counts, unrepeated: 1 } };
    },
    end: () => thread.end(),
  };
}

/** Lives in a weather of one kind. */
export const clustersIn = (weather: { knobs: Partial<SystemKnobs>; stormMs: number }): Pick<Lives, "thread"> => ({
  thread: (evaluations) => clusterThread(evaluations, weather),
});

export const CLUSTERS: Lives = {
  thread: (evaluations) => clusterThread(evaluations),
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
