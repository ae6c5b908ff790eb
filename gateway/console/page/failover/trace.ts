/**
 * Everything recorded that the page holds, in causal order, with one track per actor: what held at any instant is one
 * binary search per track. Time is the records' own hybrid clock, so a node or a browser whose wall clock jumps bends
 * nothing. Pure; no browser needed.
 *
 * A position is in ms since `base`, with the clock's counter as its fraction.
 */
import { recordId } from "../../../../actors/rules/record-id.ts";
import type { ActorState, StepRecord } from "../../api.ts";
import { heardOf, repeatedMs } from "../../last-heard.ts";
import { compareRecords } from "../../order.ts";
import { shortState, type Tone, toneOf } from "./tones.ts";

export interface Change {
  at: number;
  label: string;
  tone: Tone;
  value: string;
  /** The step that led here is held; else the state may have begun at any time before. */
  isBeginning: boolean;
}

/** One life of one actor. */
export interface Track {
  key: string;
  n: string;
  b: number;
  m: string;
  a: string;
  s: string;
  /** Positions of `steps`, rising. */
  at: number[];
  steps: (StepRecord | ActorState)[];
  /** The steps that show as another state. */
  changes: Change[];
}

export interface Life {
  boot: number;
  from: number;
  /** Its start is held; else it may have begun at any time before. */
  hasStart: boolean;
  /** Its last record. */
  to: number;
  /** When another node last heard of it: later than `to` if its last records were lost with it. */
  heardAt: number;
  /** The last thing that the process said of its own end, if it did. */
  ended: "stopped" | "crashed" | null;
}

/** Key of a track: actor names repeat over nodes and boots. */
const trackKey = ({ n, b, a }: Pick<StepRecord, "n" | "b" | "a">): string => `${n}/${b}/${a}`;

/** Index of the first element above `at`. */
export function upperBound(sorted: readonly number[], at: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((sorted[middle] as number) <= at) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The same over changes. */
export function upperBoundOf(changes: Change[], position: number): number {
  let low = 0;
  let high = changes.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((changes[middle] as Change).at <= position) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** Kinds that bring an actor into a state. */
const BEARING = new Set<StepRecord["k"]>(["init", "tr", "fault"]);
/** Whether a step brought its actor into the state that it is in, rather than repeated it. */
const isChange = ({ k, f }: Partial<StepRecord>, label: string): boolean =>
  k === "init" || (f !== undefined && shortState(f) !== label);

/** How long an ended actor is still shown. */
const AFTERGLOW_MS = 5000;

export class Trace {
  readonly records: StepRecord[] = [];
  /** Positions of `records`, never falling. */
  readonly at: number[] = [];
  readonly tracks = new Map<string, Track>();
  readonly lives = new Map<string, Life[]>();
  /** Of each node its own machine: raft or worker, one track per life. */
  readonly mainTracks = new Map<string, Track[]>();
  /** Figures of a second or so: `redundancy`, and `traffic NODE`, which counts from the node's start. */
  readonly sums = new Map<string, { at: number[]; records: StepRecord[] }>();
  /** Notes: drills and their ends. */
  readonly marks: StepRecord[] = [];
  /** Of each worker what leaders thought of it. */
  readonly beliefs = new Map<string, Track[]>();
  base: number | null = null;
  readonly #known = new Map<string, StepRecord>();
  /** By process, n/b: when another one last heard of it. */
  readonly #heard = new Map<string, number>();

  /** Position of a hybrid clock reading. */
  positionOf(h: string): number {
    const ms = Number.parseInt(h.slice(0, 12), 16);
    this.base ??= ms;
    return ms - this.base + Number.parseInt(h.slice(12), 16) / 65_536;
  }

  /** ms since the epoch */
  timeOf(position: number): number {
    return (this.base ?? 0) + position;
  }

  /** Position of a wall time. */
  positionAt(ms: number): number {
    this.base ??= ms;
    return ms - this.base;
  }

  get(id: string): StepRecord | undefined {
    return this.#known.get(id);
  }

  get first(): number {
    return this.at[0] ?? 0;
  }

  get last(): number {
    return this.at.at(-1) ?? 0;
  }

  /** States before the first record. */
  begin(actors: readonly ActorState[]): void {
    for (const actor of actors) {
      const at = this.positionOf(actor.h);
      const track = this.#trackOf(actor);
      if (track.at.length > 0) continue;
      this.#place(track, actor, at);
      this.#noteLife(actor.n, actor.b, at);
    }
  }

  /** Records that are there already are left out; late ones go where they belong. */
  add(records: readonly StepRecord[]): StepRecord[] {
    const fresh = records.filter((record) => {
      const id = recordId(record);
      const isNew = !this.#known.has(id);
      this.#known.set(id, record);
      return isNew;
    });
    if (fresh.length > 1) fresh.sort(compareRecords);
    for (const record of fresh) this.#add(record);
    return fresh;
  }

  #add(record: StepRecord): void {
    const at = this.positionOf(record.h);
    const end = this.records.at(-1);
    if (end === undefined || compareRecords(end, record) < 0) {
      this.records.push(record);
      this.at.push(at);
    } else {
      let index = upperBound(this.at, at);
      while (index > 0 && compareRecords(this.records[index - 1] as StepRecord, record) > 0) index--;
      this.records.splice(index, 0, record);
      this.at.splice(index, 0, at);
    }
    this.#noteLife(record.n, record.b, at, record);
    this.#noteHeard(record, at);
    if (record.k === "sum") this.#addSum(record, at);
    if (record.k === "mark") this.marks.push(record);
    if (BEARING.has(record.k) || record.z) this.#place(this.#trackOf(record), record, at);
  }

  #addSum(record: StepRecord, at: number): void {
    const key = record.m === "traffic" ? `traffic ${record.n}` : record.m;
    let sums = this.sums.get(key);
    if (!sums) {
      sums = { at: [], records: [] };
      this.sums.set(key, sums);
    }
    const index = upperBound(sums.at, at);
    sums.at.splice(index, 0, at);
    sums.records.splice(index, 0, record);
  }

  /** Bytes that a node moved between a sample and the one before; 0 where it started anew. */
  bytesMoved(node: string, index: number): number {
    const sums = this.sums.get(`traffic ${node}`);
    const [now, before] = [sums?.records[index], sums?.records[index - 1]];
    if (!now || !before || now.b !== before.b) return 0;
    return Math.max(0, bytesOf(now) - bytesOf(before));
  }

  #trackOf(step: StepRecord | ActorState): Track {
    const key = trackKey(step);
    let track = this.tracks.get(key);
    if (!track) {
      const { n, b, m, a, s } = step;
      track = { key, n, b, m, a, s, at: [], steps: [], changes: [] };
      this.tracks.set(key, track);
      if (m === "raft" || m === "worker") listed(this.mainTracks, n).push(track);
      if (m === "liveness") listed(this.beliefs, s).push(track);
    }
    return track;
  }

  #place(track: Track, step: StepRecord | ActorState, at: number): void {
    const isLast = track.at.length === 0 || at >= (track.at.at(-1) as number);
    const index = isLast ? track.at.length : upperBound(track.at, at);
    track.at.splice(index, 0, at);
    track.steps.splice(index, 0, step);
    if (!isLast) track.changes = [];
    for (let n = isLast ? index : 0; n < track.at.length; n++) {
      const value = (track.steps[n] as StepRecord).v;
      const label = shortState(value);
      const before = track.changes.at(-1);
      if (before?.label === label) continue;
      const isBeginning = isChange(track.steps[n] as StepRecord, label);
      track.changes.push({ at: track.at[n] as number, label, tone: toneOf(track.m, value), value, isBeginning });
    }
  }

  #noteLife(node: string, boot: number, at: number, record?: StepRecord): void {
    const lives = listed(this.lives, node);
    const hasStart = record?.k === "proc" && record.e === "started";
    if (record?.k === "proc" && record.e === "crashed") {
      const before = lives.find((one) => one.boot === record.d?.boot);
      if (before) before.ended = "crashed";
    }
    const ended = record?.k === "proc" && (record.e === "stopped" || record.e === "stopping") ? "stopped" : null;
    const life = lives.find((one) => one.boot === boot);
    if (life) {
      life.from = Math.min(life.from, at);
      life.to = Math.max(life.to, at);
      life.ended ??= ended;
      life.hasStart ||= hasStart;
    } else {
      const heardAt = this.#heard.get(`${node}/${boot}`) ?? Number.NEGATIVE_INFINITY;
      lives.push({ boot, from: at, hasStart, to: at, heardAt, ended });
      lives.sort((a, b) => a.boot - b.boot);
    }
  }

  /** Others may be heard of a process before, and long after, its own records are. */
  #noteHeard(record: StepRecord, at: number): void {
    const heard = heardOf(record);
    if (!heard) return;
    const lives = this.lives.get(heard.n) ?? [];
    const life = lives.findLast(({ boot, from }) => (heard.b === 0 ? from <= at : boot === heard.b));
    const key = `${heard.n}/${life?.boot ?? heard.b}`;
    const heardAt = Math.max(at + repeatedMs(record), this.#heard.get(key) ?? Number.NEGATIVE_INFINITY);
    this.#heard.set(key, heardAt);
    if (life) life.heardAt = heardAt;
  }

  /** The last sign of a life, its own or another's of it; the next life of the node comes after it. */
  endOf(node: string, life: Life): number {
    const next = this.lives.get(node)?.find(({ boot }) => boot > life.boot);
    return Math.max(life.to, Math.min(life.heardAt, next?.from ?? life.heardAt));
  }

  #forget(key: string, track: Track): void {
    this.tracks.delete(key);
    for (const [map, name] of [
      [this.mainTracks, track.n],
      [this.beliefs, track.s],
    ] as const)
      map.set(
        name,
        (map.get(name) ?? []).filter((one) => one !== track),
      );
  }

  /** How many records lie at or before a position. */
  countAt(position: number): number {
    return upperBound(this.at, position);
  }

  /** The life of a node at a position; null: not started, or between two lives. */
  lifeAt(node: string, position: number): Life | null {
    const lives = this.lives.get(node) ?? [];
    const index = lives.findLastIndex(({ from }) => from <= position);
    const life = lives[index];
    if (!life) return null;
    const isOver = position > this.endOf(node, life) && (index < lives.length - 1 || life.ended !== null);
    return isOver ? null : life;
  }

  /** Every actor that was there at a position, with its latest step. */
  actorsAt(position: number): { track: Track; step: StepRecord | ActorState; at: number; isOver: boolean }[] {
    const found = [];
    for (const track of this.tracks.values()) {
      const index = upperBound(track.at, position) - 1;
      if (index < 0) continue;
      const step = track.steps[index] as StepRecord | ActorState;
      const at = track.at[index] as number;
      const isOver = step.z === 1;
      if (isOver && position - at > AFTERGLOW_MS) continue;
      if (this.lifeAt(track.n, position)?.boot !== track.b) continue;
      found.push({ track, step, at, isOver });
    }
    return found;
  }

  /** Forgets the oldest records but what they led to. */
  trim(keep: number): void {
    const surplus = this.records.length - keep;
    if (surplus <= 0) return;
    for (const record of this.records.splice(0, surplus)) this.#known.delete(recordId(record));
    this.at.splice(0, surplus);
    for (const [key, track] of this.tracks) {
      const before = upperBound(track.at, this.first) - 1;
      if (before > 0) {
        track.at.splice(0, before);
        track.steps.splice(0, before);
        const shown = track.changes.findLastIndex(({ at }) => at <= this.first);
        if (shown > 0) track.changes.splice(0, shown);
      }
      if (track.steps.at(-1)?.z === 1 && (track.at.at(-1) as number) < this.first) this.#forget(key, track);
    }
  }
}

/** Gateways count content, workers blocks. */
const bytesOf = ({ d }: StepRecord): number =>
  ["bytesIn", "bytesOut", "bytesWritten", "bytesRead"].reduce((sum, name) => sum + Number(d?.[name] ?? 0), 0);

function listed<T>(map: Map<string, T[]>, key: string): T[] {
  let list = map.get(key);
  if (!list) {
    list = [];
    map.set(key, list);
  }
  return list;
}

const naturally = new Intl.Collator("en", { numeric: true });
export const inNaturalOrder = (a: string, b: string): number => naturally.compare(a, b);
