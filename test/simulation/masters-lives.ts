/** Lives of groups of masters, for `bun run simulate`. */
import { formatRecording } from "../../gateway/console/recording.ts";
import type { Lives, Told } from "./lives.ts";
import type { RaftGroup } from "./raft-group.ts";
import { RaftRecorder } from "./record-raft.ts";
import { shrink } from "./shrink.ts";
import { type BegunRun, type Failure, isFailure, type Run, simulateRaft } from "./simulate-raft.ts";
import { WatchedThread } from "./watched-thread.ts";

/** Only a machine that is far too busy makes a life last so long: one that hangs is noticed by the CPU time that it uses. */
const PATIENCE_MS = 900_000;

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
  thread(evaluations) {
    let thread: WatchedThread<number, BegunRun, Run | Failure> | undefined;
    return {
      async live(seed) {
        thread ??= new WatchedThread(new URL("./simulate-worker.ts", import.meta.url).href, evaluations);
        const outcome = await thread.ask(seed, PATIENCE_MS);
        if (outcome === null) return null;
        if ("answer" in outcome) return toldOf(outcome.answer);
        thread = undefined;
        const { begun, atMs, message } = outcome.hang;
        return {
          ...toldOf({ ...begun, rule: "starved", message, atMs }),
          shrink: async () => ({ ...begun, found: message }),
        };
      },
      end: () => thread?.end(),
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
