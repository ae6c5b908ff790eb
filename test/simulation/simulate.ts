/**
 * `bun run simulate`: masters in weather drawn by seed, as many lives as wanted, on all cores.
 *
 *     bun run simulate --seeds 1000 --from 1       so many seeds
 *     bun run simulate --minutes 10                as many as fit, from a fresh seed
 *     SEED=57 bun run simulate                     one seed, told step by step
 *     SEED=57 bun run simulate --record life.ndjson
 *
 * A seed that breaks a rule is made as small as it goes, and printed so that it can be kept in `seeds/`.
 */
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { formatRecording } from "../../gateway/console/recording.ts";
import type { RaftGroup } from "./raft-group.ts";
import { RaftRecorder } from "./record-raft.ts";
import { shrink } from "./shrink.ts";
import { type Failure, isFailure, type Run, simulateRaft } from "./simulate-raft.ts";

const { values: flags } = parseArgs({
  options: {
    seeds: { type: "string" },
    from: { type: "string" },
    minutes: { type: "string" },
    record: { type: "string" },
    cores: { type: "string" },
  },
});

const number = (name: keyof typeof flags, otherwise: number): number => {
  const text = flags[name];
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (text !== "" && Number.isFinite(value) && value >= 0) return value;
  console.error(`--${name} takes a number, not "${text}"`);
  process.exit(2);
};

const fresh = (): number => crypto.getRandomValues(new Uint32Array(1))[0] as number;

if (Bun.env.SEED !== undefined) process.exit(await replay(Number(Bun.env.SEED)));
if (flags.record !== undefined) process.exit(await replay(number("from", fresh())));
process.exit(await runMany());

/** @returns the exit code: 1 if a rule breaks */
async function replay(seed: number): Promise<number> {
  let group: RaftGroup | undefined;
  let recorder: RaftRecorder | undefined;
  const life = simulateRaft(seed, {
    prepare: (prepared) => {
      group = prepared;
      recorder = new RaftRecorder(prepared);
    },
  });
  console.log(`seed ${seed}: ${JSON.stringify(isFailure(life) ? life.knobs : group?.knobs)}`);
  for (const { t, n, b, e, f, v, c } of recorder?.records ?? [])
    if (f !== undefined || e === "xstate.init")
      console.log(`${t.toFixed(1).padStart(9)} ms  ${n}/${b}  ${e}: ${f ?? ""} → ${v}  term ${c?.term}`);
  if (flags.record !== undefined && recorder) {
    await Bun.write(flags.record, formatRecording(recorder.recording(seed)));
    console.log(`${recorder.records.length} steps recorded in ${flags.record}`);
  }
  if (!isFailure(life)) {
    console.log(told(life));
    return 0;
  }
  report(life);
  return 1;
}

async function runMany(): Promise<number> {
  const minutes = number("minutes", Number.POSITIVE_INFINITY);
  const seeds = number("seeds", Number.isFinite(minutes) ? Number.POSITIVE_INFINITY : 200);
  const from = number("from", fresh());
  const until = performance.now() + minutes * 60_000;
  const total = { seeds: 0, events: 0, committed: 0, elections: 0, reads: 0 };
  const failures: Failure[] = [];
  const startedAt = performance.now();
  let next = 0;
  let isInterrupted = false;
  process.once("SIGINT", () => {
    isInterrupted = true;
  });

  function note(life: Run | Failure): void {
    total.seeds++;
    if (isFailure(life)) {
      failures.push(life);
      console.log(`seed ${life.seed} breaks ${life.message}`);
      return;
    }
    for (const key of ["events", "committed", "elections", "reads"] as const) total[key] += life[key];
  }

  const wantsMore = (): boolean => !isInterrupted && next < seeds && performance.now() < until;
  await Promise.all(
    Array.from({ length: number("cores", availableParallelism()) }, async () => {
      const worker = new Worker(new URL("simulate-worker.ts", import.meta.url));
      try {
        while (wantsMore()) {
          const { promise, resolve, reject } = Promise.withResolvers<Run | Failure>();
          worker.onmessage = ({ data }) => resolve(data);
          worker.onerror = ({ message }) => reject(new Error(message));
          worker.postMessage((from + next++) >>> 0);
          note(await promise);
        }
      } finally {
        worker.terminate();
      }
    }),
  );

  const seconds = (performance.now() - startedAt) / 1000;
  const { events, committed, elections, reads } = total;
  console.log(
    `${total.seeds} seeds from ${from}: ${events} events (${Math.round(events / seconds)}/s), ${committed} committed, ` +
      `${elections} elections, ${reads} reads, ${failures.length} failures`,
  );
  for (const failure of failures) report(failure);
  return failures.length > 0 ? 1 : 0;
}

function told({ seed, events, committed, elections, reads }: Run): string {
  return `seed ${seed} breaks no rule: ${events} events, ${committed} committed, ${elections} elections, ${reads} reads`;
}

function report(failure: Failure): void {
  console.log(
    `\nseed ${failure.seed} breaks ${failure.message} at ${Math.round(failure.atMs)} ms; making it smaller …`,
  );
  const { seed, message, knobs, stormMs } = shrink(failure);
  console.log(
    `kept: ${JSON.stringify({ seed, found: message, knobs, stormMs })}\nreplay: SEED=${seed} bun run simulate`,
  );
}
