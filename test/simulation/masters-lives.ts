/** Lives of groups of masters, for `bun run simulate`. */
import { formatRecording } from "../../gateway/console/recording.ts";
import { askWorker, type Lives, type Told } from "./lives.ts";
import type { RaftGroup } from "./raft-group.ts";
import { RaftRecorder } from "./record-raft.ts";
import { shrink } from "./shrink.ts";
import { type Failure, isFailure, type Run, simulateRaft } from "./simulate-raft.ts";

/** A life that is not over by then is given up, with its worker. */
export const PATIENCE_MS = 30_000;

function toldOf(life: Run | Failure): Told {
  if (!isFailure(life)) {
    const { events, committed, elections, reads, cutShort: isCutShort } = life;
    return { counts: { events, committed, elections, reads }, isCutShort, failure: null, shrink: async () => ({}) };
  }
  return {
    counts: {},
    isCutShort: false,
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
        const life = await askWorker<Run | Failure>(worker, seed, PATIENCE_MS);
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
      recording: isRecorded && recorder ? formatRecording(recorder.recording()) : null,
      told: toldOf(life),
    };
  },
};
