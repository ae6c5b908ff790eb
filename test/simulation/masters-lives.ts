/** Lives of groups of masters, for `bun run simulate`. */
import { formatRecording } from "../../gateway/console/recording.ts";
import type { Lives, Told } from "./lives.ts";
import type { RaftGroup } from "./raft-group.ts";
import { RaftRecorder } from "./record-raft.ts";
import { shrink } from "./shrink.ts";
import { type Failure, isFailure, type Run, simulateRaft } from "./simulate-raft.ts";

const PATIENCE_MS = 60_000;

function toldOf(life: Run | Failure): Told {
  if (!isFailure(life)) {
    const { events, committed, elections, reads } = life;
    return { counts: { events, committed, elections, reads }, failure: null, shrink: async () => ({}) };
  }
  return {
    counts: {},
    failure: life,
    shrink: async () => {
      const { seed, message, knobs, stormMs } = shrink(life);
      return { seed, found: message, knobs, stormMs };
    },
  };
}

export const MASTERS: Lives = {
  thread() {
    const worker = new Worker(new URL("./simulate-worker.ts", import.meta.url).href);
    return {
      async live(seed) {
        const { promise, resolve, reject } = Promise.withResolvers<Run | Failure | null>();
        worker.onmessage = ({ data }) => resolve(data);
        worker.onerror = ({ message }) => reject(new Error(message));
        worker.postMessage(seed);
        const timer = setTimeout(() => resolve(null), PATIENCE_MS);
        const life = await promise.finally(() => clearTimeout(timer));
        return life && toldOf(life);
      },
      end: () => worker.terminate(),
    };
  },
  async replay(seed, isRecorded) {
    let group: RaftGroup | undefined;
    let recorder: RaftRecorder | undefined;
    const life = simulateRaft(seed, {
      prepare: (prepared) => {
        group = prepared;
        recorder = new RaftRecorder(prepared);
      },
    });
    const steps = (recorder?.records ?? [])
      .filter(({ f, e }) => f !== undefined || e === "xstate.init")
      .map(
        ({ t, n, b, e, f, v, c }) =>
          `${t.toFixed(1).padStart(9)} ms  ${n}/${b}  ${e}: ${f ?? ""} → ${v}  term ${c?.term}`,
      );
    return {
      steps: [`seed ${seed}: ${JSON.stringify(isFailure(life) ? life.knobs : group?.knobs)}`, ...steps],
      recording: isRecorded && recorder ? formatRecording(recorder.recording(seed)) : null,
      told: toldOf(life),
    };
  },
};
