/** What is to be said of a node at the shown instant, and since when: from its own records, or from its silence. */
import type { ActorState, StepRecord } from "../../api.ts";
import { instant, nodes, trace } from "./playback.ts";
import { shortState, type Tone, toneOf } from "./tones.ts";
import { type Track, upperBound, upperBoundOf } from "./trace.ts";

export interface NodeNow {
  tone: Tone;
  label: string;
  /** Position; null: not known */
  since: number | null;
  /** The state may have begun earlier: the record that led to it is no longer held. */
  atLeast: boolean;
  step: StepRecord | ActorState | null;
  /** Why the state is not known, if it is not. */
  reason: string;
}

const changeAt = (track: Track, position: number) => track.changes[upperBoundOf(track.changes, position) - 1];

export function nodeNow(id: string): NodeNow {
  const position = instant.value;
  const held = trace();
  const status = nodes.value.find((node) => node.id === id);
  if (status?.reach === "unknown" && position >= held.positionAt(status.since))
    return {
      tone: "unknown",
      label: "unknown",
      since: held.positionAt(status.since),
      atLeast: false,
      step: null,
      reason: status.reason,
    };
  const life = held.lifeAt(id, position);
  if (!life) {
    const before = held.lives.get(id)?.findLast(({ from }) => from <= position);
    if (!before) return { tone: "unknown", label: "not seen yet", since: null, atLeast: false, step: null, reason: "" };
    const since = held.endOf(id, before);
    return { tone: "down", label: before.ended ?? "down", since, atLeast: false, step: null, reason: "" };
  }
  const track = held.mainTracks.get(id)?.find(({ b }) => b === life.boot);
  const index = track ? upperBound(track.at, position) - 1 : -1;
  const step = track?.steps[index];
  if (!track || !step)
    return { tone: "good", label: "up", since: life.from, atLeast: !life.hasStart, step: null, reason: "" };
  const change = changeAt(track, position);
  const [since, atLeast] = [change?.at ?? null, change?.isBeginning === false];
  return { tone: toneOf(track.m, step.v), label: shortState(step.v), since, atLeast, step, reason: "" };
}

const SAMPLE_MS = 1000;

/** bytes per second that a node moves at the shown instant */
export function speedOf(id: string): number {
  const held = trace();
  const sums = held.sums.get(`traffic ${id}`);
  if (!sums) return 0;
  const position = instant.value;
  const index = upperBound(sums.at, position) - 1;
  const at = sums.at[index];
  return at === undefined || position - at > 1.5 * SAMPLE_MS ? 0 : held.bytesMoved(id, index);
}

/** Chunks, and those with all their copies, as last counted by a leader before the shown instant. */
export function redundancyAt(): { chunks: number; full: number; unknown: number } | null {
  const sums = trace().sums.get("redundancy");
  const record = sums?.records[upperBound(sums.at, instant.value) - 1];
  const { chunks, full, unknown = 0 } = record?.d ?? {};
  return typeof chunks === "number" && typeof full === "number" && typeof unknown === "number"
    ? { chunks, full, unknown }
    : null;
}

/** What the leader of that instant thinks of a worker. */
export function beliefOf(worker: string): { tone: Tone; label: string; by: string } | null {
  const held = trace();
  const position = instant.value;
  const tracks = held.beliefs.get(worker) ?? [];
  let best: { track: Track; step: StepRecord | ActorState; at: number } | null = null;
  for (const track of tracks) {
    const index = upperBound(track.at, position) - 1;
    const step = track.steps[index];
    const at = track.at[index] as number;
    if (!step || step.z || held.lifeAt(track.n, position)?.boot !== track.b) continue;
    if (!best || at > best.at) best = { track, step, at };
  }
  return best && { tone: toneOf("liveness", best.step.v), label: shortState(best.step.v), by: best.track.n };
}

/** `master-1` → `m1`, for places with room for two letters. */
export const shortName = (id: string): string => {
  const parts = /^([a-z])[a-z-]*?-?(\d+)$/.exec(id);
  return parts ? `${parts[1]}${parts[2]}` : id.slice(-4);
};
