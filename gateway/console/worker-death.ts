/** Takes the death of a worker apart: silence, suspicion, queue, copying, and how many chunks were at risk. Pure. */
import { recordId } from "../../actors/rules/record-id.ts";
import type { About, Report, StepRecord } from "./api.ts";
import { clockTime } from "./clock-time.ts";
import { lastMs } from "./order.ts";
import { chained, damage, drillBefore, idsOf, type Step } from "./report-parts.ts";

type Timings = About["timings"];

const isDead = (v: string): boolean => /(^|\|)heard\.dead/.test(v);
const isSuspect = (v: string): boolean => /(^|\|)heard\.suspect/.test(v);
/** @param records of all nodes, in order */
export function workerDeaths(records: readonly StepRecord[], timings: Timings): Report[] {
  return records.flatMap((record, at) =>
    record.m === "liveness" && record.k === "tr" && isDead(record.v) && !isDead(record.f ?? record.v)
      ? [workerDeath(records, at, timings)]
      : [],
  );
}

/** How the leader came to take the worker for dead. */
interface Silence {
  /** The last heartbeat, if these records have it. */
  heard: StepRecord | undefined;
  suspect: StepRecord | undefined;
  /** The last sign of life, or the first record after which nothing was heard. */
  began: StepRecord;
}

function silenceBefore(records: readonly StepRecord[], at: number, dead: StepRecord): Silence {
  const ofActor = ({ n, a }: StepRecord): boolean => n === dead.n && a === dead.a;
  const before = (test: (record: StepRecord) => boolean, from: number): number => {
    for (let n = from; n >= 0; n--) if (test(records[n] as StepRecord)) return n;
    return -1;
  };
  const suspectAt = before((record) => ofActor(record) && record.f !== undefined && isSuspect(record.v), at - 1);
  const heard = records[before((one) => ofActor(one) && one.e === "HEARTBEAT", suspectAt >= 0 ? suspectAt : at - 1)];
  const began = heard ?? records[before((one) => ofActor(one) && one.k === "init", at)] ?? dead;
  return { heard, suspect: records[suspectAt], began };
}

/** What was done for the chunks of a dead worker. */
interface Recovery {
  firstCopy: StepRecord | undefined;
  lastHealed: StepRecord | undefined;
  /** When the leader first counted too few copies, and when it counted all again. */
  short: StepRecord | undefined;
  full: StepRecord | undefined;
  /** Counts in between that fell short. */
  sums: StepRecord[];
  /** Repairs that were begun because copies were too few. */
  copied: StepRecord[];
  most: number;
  isAtRisk: boolean;
  /** ms since the epoch; undefined: not yet. */
  wholeAgain: number | undefined;
  copies: Report["copies"];
}

/** @param later records after the death, of the time in which it counts */
function recoveryFrom(later: readonly StepRecord[], worker: string): Recovery {
  const repairs = later.filter((one) => one.m === "repair" && names(String(one.c?.reason ?? ""), worker));
  const firstCopy = repairs.find(({ v, f }) => v === "copying" && f !== undefined);
  const shortAt = later.findIndex((one) => one.m === "redundancy" && shortage(one) > 0);
  const fullAt = shortAt < 0 ? -1 : later.findIndex((one, n) => n > shortAt && one.m === "redundancy" && isWhole(one));
  const short = later[shortAt];
  const full = later[fullAt];
  const counted = fullAt < 0 ? later.slice(Math.max(0, shortAt)) : later.slice(Math.max(0, shortAt), fullAt);
  const sums = counted.filter((one) => one.m === "redundancy" && shortage(one) > 0);
  const copied = repairs.filter(({ k, c }) => k === "init" && c?.purpose === "redundancy");
  // Copies can be made faster than the leader counts the chunks that are short.
  const most = Math.max(new Set(copied.map(({ s }) => s)).size, ...sums.map(shortage));
  const isCounted = short !== undefined && (firstCopy === undefined || short.t <= (repairs.at(-1)?.t ?? short.t));
  const isAtRisk = isCounted || copied.length > 0;
  const ended = repairs.filter(({ v, f }) => f !== undefined && ["healed", "failed", "cancelled"].includes(v));
  const healed = ended.filter(({ v }) => v === "healed");
  const lastHealed = healed.at(-1);
  const begun = repairs.filter(({ k }) => k === "init");
  const isUnderWay = begun.some(({ a, b, n }) => !ended.some((one) => one.a === a && one.b === b && one.n === n));
  const wholeAgain = isCounted ? full?.t : isUnderWay ? undefined : (lastHealed ?? ended.at(-1))?.t;
  const countOf = (end: string): number => ended.filter(({ v }) => v === end).length;
  const copies = { healed: healed.length, failed: countOf("failed"), cancelled: countOf("cancelled") };
  return { firstCopy, lastHealed, short, full, sums, copied, most, isAtRisk, wholeAgain, copies };
}

function stepsOf(dead: StepRecord, suspect: StepRecord | undefined, recovery: Recovery): Step[] {
  const { firstCopy, lastHealed, full, isAtRisk, wholeAgain } = recovery;
  const steps: Step[] = [["silence", "heartbeats missed until suspected", (suspect ?? dead).t, suspect ?? dead]];
  if (suspect) steps.push(["suspicion", "suspected until declared dead", dead.t, dead]);
  if (!isAtRisk && firstCopy === undefined) return steps;
  const queueTo = firstCopy?.t ?? wholeAgain ?? null;
  steps.push(["queue", "until the first copy was under way", queueTo, firstCopy ?? full ?? null]);
  const last = full ?? lastHealed ?? null;
  if (firstCopy) steps.push(["copying", "copying, until every chunk had its copies again", wholeAgain ?? null, last]);
  return steps;
}

function riskOf({ isAtRisk, most, sums, copied }: Recovery, from: number, to: number | null): Report["chunksAtRisk"] {
  if (!isAtRisk) return { most: 0, fewestCopies: null, from: null, to: null, ms: null };
  return { most, fewestCopies: fewest(sums, copied), from, to, ms: to === null ? null : Math.max(0, to - from) };
}

function workerDeath(records: readonly StepRecord[], at: number, timings: Timings): Report {
  const dead = records[at] as StepRecord;
  const { s: worker } = dead;
  const { heard, suspect, began } = silenceBefore(records, at, dead);
  const from = lastMs(began);
  const later = records.slice(at + 1);
  const backAt = later.findIndex(
    (one) => (one.s === worker && one.m === "liveness" && one.f !== undefined && isDead(one.f)) || endsLife(one, dead),
  );
  const back = later[backAt];
  const isBack = back?.k === "tr" && !back.z;
  const recovery = recoveryFrom(later, worker);
  const { firstCopy, short, full, most, copies } = recovery;
  const phases = chained(from, stepsOf(dead, suspect, recovery));
  const to = phases.at(-1)?.to ?? null;
  const missed = Math.max(1, Math.floor((dead.t - from) / Math.max(1, timings.heartbeatMs)));
  const during = (one: StepRecord): boolean => one.h >= began.h && (to === null || one.t <= to);
  const drill = drillBefore(records, at, worker, from);
  return {
    id: `worker-${recordId(dead)}`,
    kind: "workerDeath",
    subject: worker,
    successor: null,
    term: typeof dead.c?.term === "number" ? dead.c.term : null,
    title: `${worker} died${most > 0 ? `: ${most} chunks short` : ""}`,
    from,
    atLeast: heard === undefined,
    to,
    totalMs: to === null ? null : to - from,
    phases,
    ...damage(records, during, from, to),
    chunksAtRisk: riskOf(recovery, dead.t, to),
    copies,
    because: [
      ...(most > 0 ? [`${most} ${most === 1 ? "chunk" : "chunks"} short`] : []),
      `${most > 0 ? "because " : ""}${worker} is dead`,
      `because ${missed} heartbeats were missed`,
      `since ${clockTime(from)}`,
      ...(drill ? [`because of a drill: ${drill.e}`] : []),
      ...(isBack ? [`until it came back at ${clockTime(back.t)}`] : []),
    ],
    records: idsOf([drill, heard, suspect, dead, firstCopy, short, full]),
  };
}

/** Whether a text speaks of this node: `worker-1` is no part of `worker-10`. */
const names = (text: string, node: string): boolean => text.split(/[^\w-]+/).includes(node);

/** The leader that declared the worker dead is gone itself, or leads no more. */
const endsLife = (one: StepRecord, dead: StepRecord): boolean =>
  one.n === dead.n && ((one.k === "proc" && one.e === "started") || (one.a === dead.a && one.z === 1));

const countedIn = ({ d }: StepRecord) => (d ?? {}) as { chunks?: number; full?: number; unknown?: number };

/** Chunks known to lack copies; chunks that a new leader does not know yet are not counted. */
function shortage(one: StepRecord): number {
  const { chunks, full, unknown = 0 } = countedIn(one);
  return typeof chunks === "number" && typeof full === "number" ? chunks - full - unknown : 0;
}

function isWhole(one: StepRecord): boolean {
  const { chunks, full } = countedIn(one);
  return chunks === full;
}

function fewest(sums: readonly StepRecord[], copied: readonly StepRecord[]): number | null {
  const planned = copied.flatMap(({ c }) => (typeof c?.goodCopies === "number" ? [c.goodCopies] : []));
  const counts = sums.flatMap(({ d }) =>
    Object.entries((d?.below ?? {}) as Record<string, number>).flatMap(([copies, chunks]) =>
      chunks > 0 ? [Number(copies)] : [],
    ),
  );
  return counts.length + planned.length > 0 ? Math.min(...counts, ...planned) : null;
}
