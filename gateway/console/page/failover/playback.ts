/**
 * The instant that the whole page shows: live, or a position in what was recorded. And what it is shown from: the
 * cluster's stream, or a recording that a person opened.
 */

import { batch, computed, signal } from "@preact/signals";
import { recordId } from "../../../../actors/rules/record-id.ts";
import type { About, Drill, MachineList, NodeStatus, Report, StepRecord } from "../../api.ts";
import { route } from "../route.ts";
import { shortState } from "./tones.ts";
import { inNaturalOrder, Trace } from "./trace.ts";

export type Source =
  | { kind: "live" }
  | { kind: "recording"; name: string; cluster: string; software: string; seed: string | null; exportedAt: number };

export const source = signal<Source>({ kind: "live" });
export const about = signal<About | null>(null);
export const machines = signal<MachineList>([]);
export const nodes = signal<NodeStatus[]>([]);
export const reports = signal<Report[]>([]);
export const drills = signal<Drill[]>([]);

/** Not a signal: it changes thousands of times a second. `version` changes with it, once a frame. */
let held = new Trace();
export const version = signal(0);
export const trace = (): Trace => held;

/** null: live, or the end of the recording */
export const cursor = signal<number | null>(null);
/** Position of "now". */
export const liveEdge = signal(0);
export const instant = computed(() => cursor.value ?? liveEdge.value);
export const isPlaying = signal(false);
export const speed = signal(1);
export const SPEEDS = [0.1, 0.25, 0.5, 1, 2, 4];
export const selected = signal<string | null>(null);

/** Positions at the edges of the timeline. `null`: follows the live edge with `span`. */
export const range = signal<{ from: number; to: number } | null>(null);
export const span = signal(60_000);
export const visible = computed(() => range.value ?? { from: liveEdge.value - span.value, to: liveEdge.value });

/** Records that the instant just passed, for those who draw movement. */
export type Passed = (records: StepRecord[]) => void;
const listeners = new Set<Passed>();
export function onPassed(listener: Passed): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
const MOST_PASSED = 200;
const tell = (records: StepRecord[]): void => {
  if (records.length > 0) for (const listener of listeners) listener(records.slice(-MOST_PASSED));
};

let isDirty = false;
const touch = (): void => {
  isDirty = true;
};

export function startAnew(): void {
  held = new Trace();
  batch(() => {
    cursor.value = null;
    isPlaying.value = false;
    selected.value = null;
    range.value = null;
    reports.value = [];
    liveEdge.value = 0;
    version.value++;
  });
}

/** Records of a live stream that the page holds at most; exported recordings hold more. */
const MOST_HELD = 60_000;
const TRIMMED_TO = 50_000;

export function addRecords(records: readonly StepRecord[]): void {
  const fresh = held.add(records);
  if (source.peek().kind === "live" && held.records.length > MOST_HELD && cursor.peek() === null) held.trim(TRIMMED_TO);
  if (fresh.length > 0) touch();
  if (cursor.peek() === null) tell(fresh);
}

/** The gateway's clock, carried on by the page's own, which never jumps. */
let clock: { serverMs: number; pageMs: number } | null = null;
export const setClock = (serverMs: number): void => {
  clock = { serverMs, pageMs: performance.now() };
};
export const isClockRunning = signal(false);

function nowPosition(pageMs: number): number {
  if (source.peek().kind === "recording" || clock === null || held.base === null) return held.last;
  if (!isClockRunning.peek()) return Math.max(held.last, liveEdge.peek());
  return Math.max(held.last, held.positionAt(clock.serverMs + pageMs - clock.pageMs));
}

let lastFrame = 0;
/** How often what is shown is brought up to date: often enough for the eye. */
const FRAME_MS = 66;

/** Once per animation frame, for as long as the page lives. */
function frame(pageMs: number): void {
  requestAnimationFrame(frame);
  const elapsed = pageMs - lastFrame;
  const mayMove = isPlaying.peek() && cursor.peek() !== null;
  if (!mayMove && elapsed < FRAME_MS) return;
  lastFrame = pageMs;
  batch(() => {
    if (isDirty) {
      isDirty = false;
      version.value++;
    }
    if (route.peek().view === "failover" || mayMove) liveEdge.value = nowPosition(pageMs);
    if (mayMove) advance(Math.min(elapsed, 200) * speed.peek());
  });
}

function advance(byMs: number): void {
  const from = cursor.peek() as number;
  const to = from + byMs;
  if (to >= liveEdge.peek()) {
    if (source.peek().kind === "live") goLive();
    else {
      cursor.value = liveEdge.peek();
      isPlaying.value = false;
    }
    return;
  }
  cursor.value = to;
  keepVisible(to);
  tell(held.records.slice(held.countAt(from), held.countAt(to)));
}

export function startClock(): void {
  requestAnimationFrame(frame);
}

/** Moves the timeline so that a position is on it. */
function keepVisible(position: number): void {
  const { from, to } = visible.peek();
  if (position >= from && position <= to) {
    if (range.peek() === null) range.value = { from, to };
    return;
  }
  const width = to - from;
  range.value = position > to ? { from: position - width * 0.2, to: position + width * 0.8 } : around(position, width);
}

const around = (position: number, width: number) => ({ from: position - width / 2, to: position + width / 2 });

export function seek(position: number): void {
  batch(() => {
    cursor.value = Math.min(Math.max(position, held.first), liveEdge.peek());
    keepVisible(cursor.peek() as number);
  });
}

/** Moves to a record and selects it. */
export function goTo(record: StepRecord): void {
  batch(() => {
    selected.value = recordId(record);
    seek(held.positionOf(record.h));
  });
  if (isPlaying.peek()) return;
  tell([record]);
}

/** Shows a span of time, e.g. of a report. */
export function frameSpan(from: number, to: number): void {
  const width = Math.max(200, to - from);
  range.value = { from: from - width * 0.15, to: to + width * 0.25 };
}

export function goLive(): void {
  batch(() => {
    cursor.value = source.peek().kind === "live" ? null : held.last;
    range.value = null;
    isPlaying.value = false;
    selected.value = null;
  });
}

export function togglePlay(): void {
  if (cursor.peek() === null) seek(liveEdge.peek() - 10_000);
  else if ((cursor.peek() as number) >= liveEdge.peek() - 1) seek(held.first);
  isPlaying.value = !isPlaying.peek();
}

const TELLING_KINDS = new Set<StepRecord["k"]>(["init", "proc", "fault", "mark", "gap"]);

/** Records that changed what one sees, or broke something: what one steps through. A heartbeat's to and fro is neither. */
export const isTelling = ({ k, f, v }: StepRecord): boolean =>
  TELLING_KINDS.has(k) || (f !== undefined && shortState(f) !== shortState(v));

export function step(direction: 1 | -1): void {
  isPlaying.value = false;
  const { records } = held;
  const known = selected.peek() === null ? undefined : held.get(selected.peek() as string);
  const isAt = known && held.positionOf(known.h) === cursor.peek();
  let index = isAt ? records.indexOf(known) : held.countAt(instant.peek()) - (direction > 0 ? 1 : 0);
  do index += direction;
  while (records[index] && !isTelling(records[index] as StepRecord));
  const record = records[index];
  if (record) goTo(record);
}

/** Names of all nodes, masters first. */
export const nodeIds = computed<string[]>(() => {
  version.value;
  const rank = { master: 0, worker: 1, gateway: 2 };
  const ids = new Set([...nodes.value.map(({ id }) => id), ...held.lives.keys()]);
  return [...ids].sort((a, b) => rank[kindOf(a)] - rank[kindOf(b)] || inNaturalOrder(a, b));
});

export function kindOf(id: string): NodeStatus["kind"] {
  const known = nodes.peek().find((node) => node.id === id)?.kind;
  return known ?? (id.startsWith("master") ? "master" : id.startsWith("gateway") ? "gateway" : "worker");
}
