/**
 * Takes failovers apart. Every loss of a leader and every death of a worker becomes a report, made from the records
 * alone: which phase took how long, what was refused meanwhile, how many chunks were at risk. Pure; runs in a browser.
 */
import type { About, Phase, Report, StepRecord } from "./api.ts";
import { lastHeardMs } from "./last-heard.ts";
import { idOf, lastMs } from "./order.ts";
import { damageAmong, longestWaitMs } from "./refusals.ts";

type Timings = About["timings"];

const isDead = (v: string): boolean => /(^|\|)heard\.dead/.test(v);
const isSuspect = (v: string): boolean => /(^|\|)heard\.suspect/.test(v);
const isLeading = (v: string): boolean => /^leader(\.|$)/.test(v);
const isInOffice = (v: string): boolean => isLeading(v) && v.includes("office.ready");

/** @param records of all nodes, in order. @returns newest first */
export function reportsOf(records: readonly StepRecord[], timings: Timings): Report[] {
  return [...workerDeaths(records, timings), ...leaderLosses(records, timings)].sort(
    (a, b) => b.from - a.from || (a.id < b.id ? 1 : -1),
  );
}

// ── workers ────────────────────────────────────────────────────────────────────────────────────────────────────────

function workerDeaths(records: readonly StepRecord[], timings: Timings): Report[] {
  return records.flatMap((record, at) =>
    record.m === "liveness" && record.k === "tr" && isDead(record.v) && !isDead(record.f ?? record.v)
      ? [workerDeath(records, at, timings)]
      : [],
  );
}

function workerDeath(records: readonly StepRecord[], at: number, timings: Timings): Report {
  const dead = records[at] as StepRecord;
  const { s: worker } = dead;
  const ofActor = ({ n, a }: StepRecord): boolean => n === dead.n && a === dead.a;
  const before = (test: (record: StepRecord) => boolean, from: number): number => {
    for (let n = from; n >= 0; n--) if (test(records[n] as StepRecord)) return n;
    return -1;
  };
  const suspectAt = before((record) => ofActor(record) && record.f !== undefined && isSuspect(record.v), at - 1);
  const suspect = records[suspectAt];
  const heard = records[before((one) => ofActor(one) && one.e === "HEARTBEAT", suspectAt >= 0 ? suspectAt : at - 1)];
  const began = heard ?? records[before((one) => ofActor(one) && one.k === "init", at)] ?? dead;
  const from = lastMs(began);

  const later = records.slice(at + 1);
  const backAt = later.findIndex(
    (one) => (one.s === worker && one.m === "liveness" && one.f !== undefined && isDead(one.f)) || endsLife(one, dead),
  );
  const isBack = backAt >= 0 && later[backAt]?.k === "tr" && !later[backAt]?.z;
  const mine = (one: StepRecord): boolean => one.m === "repair" && names(String(one.c?.reason ?? ""), worker);
  const repairs = later.filter(mine);
  const firstCopy = repairs.find(({ v, f }) => v === "copying" && f !== undefined);
  const shortAt = later.findIndex((one) => one.m === "redundancy" && shortage(one) > 0);
  const fullAt = shortAt < 0 ? -1 : later.findIndex((one, n) => n > shortAt && one.m === "redundancy" && isWhole(one));
  const short = later[shortAt];
  const full = later[fullAt];
  const counted = fullAt < 0 ? later.slice(Math.max(0, shortAt)) : later.slice(Math.max(0, shortAt), fullAt);
  const sums = counted.filter((one) => one.m === "redundancy" && shortage(one) > 0);
  const copied = repairs.filter(({ k, c }) => k === "init" && c?.purpose === "redundancy");
  // Copies can be made faster than the leader counts what is short.
  const most = Math.max(new Set(copied.map(({ s }) => s)).size, ...sums.map(shortage));
  const isCounted = short !== undefined && (firstCopy === undefined || short.t <= (repairs.at(-1)?.t ?? short.t));
  const isAtRisk = isCounted || copied.length > 0;
  const ended = repairs.filter(({ v, f }) => f !== undefined && ["healed", "failed", "cancelled"].includes(v));
  const healed = ended.filter(({ v }) => v === "healed");
  const lastHealed = healed.at(-1);
  const begun = repairs.filter(({ k }) => k === "init");
  const isUnderWay = begun.some(({ a, b, n }) => !ended.some((one) => one.a === a && one.b === b && one.n === n));
  const wholeAgain = isCounted ? full?.t : isUnderWay ? undefined : (lastHealed ?? ended.at(-1))?.t;
  const isRepaired = isAtRisk || firstCopy !== undefined;

  const steps: Step[] = [["silence", "heartbeats missed until suspected", (suspect ?? dead).t, suspect ?? dead]];
  if (suspect) steps.push(["suspicion", "suspected until declared dead", dead.t, dead]);
  if (isRepaired) {
    const queueTo = firstCopy?.t ?? wholeAgain ?? null;
    steps.push(["queue", "until the first copy was under way", queueTo, firstCopy ?? full ?? null]);
    const last = full ?? lastHealed ?? null;
    if (firstCopy) steps.push(["copying", "copying, until every chunk had its copies again", wholeAgain ?? null, last]);
  }
  const phases = chained(from, steps);
  const to = phases.at(-1)?.to ?? null;
  const missed = Math.max(1, Math.floor((dead.t - from) / Math.max(1, timings.heartbeatMs)));
  const during = (one: StepRecord): boolean => one.h >= began.h && (to === null || one.t <= to);
  const drill = drillBefore(records, at, worker, from);
  return {
    id: `worker-${idOf(dead)}`,
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
    chunksAtRisk: isAtRisk
      ? {
          most,
          fewestCopies: fewest(sums, copied),
          from: dead.t,
          to,
          ms: to === null ? null : Math.max(0, to - dead.t),
        }
      : { most: 0, fewestCopies: null, from: null, to: null, ms: null },
    copies: {
      healed: healed.length,
      failed: ended.filter(({ v }) => v === "failed").length,
      cancelled: ended.filter(({ v }) => v === "cancelled").length,
    },
    because: [
      ...(most > 0 ? [`${most} ${most === 1 ? "chunk" : "chunks"} short`] : []),
      `${most > 0 ? "because " : ""}${worker} is dead`,
      `because ${missed} heartbeats were missed`,
      `since ${clockTime(from)}`,
      ...(drill ? [`because of a drill: ${drill.e}`] : []),
      ...(isBack ? [`until it came back at ${clockTime((later[backAt] as StepRecord).t)}`] : []),
    ],
    records: [drill, heard, suspect, dead, firstCopy, short, full].flatMap((one) => (one ? [idOf(one)] : [])),
  };
}

/** The leader that judged it is gone itself, or judges no more. */
const endsLife = (one: StepRecord, dead: StepRecord): boolean =>
  one.n === dead.n && ((one.k === "proc" && one.e === "started") || (one.a === dead.a && one.z === 1));

const countedIn = ({ d }: StepRecord) => (d ?? {}) as { chunks?: number; full?: number; unknown?: number };

/** Chunks known to lack copies; what a new leader does not know yet is not among them. */
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

// ── leaders ────────────────────────────────────────────────────────────────────────────────────────────────────────

function leaderLosses(records: readonly StepRecord[], timings: Timings): Report[] {
  const found: Report[] = [];
  /** Who led last, and with which record it began. */
  let last: { n: string; b: number; at: number } | null = null;
  const hasRaft = new Set(records.filter(({ m }) => m === "raft").map(({ n, b }) => `${n}/${b}`));
  for (const [at, record] of records.entries()) {
    const byRaft =
      record.m === "raft" &&
      isLeading(record.v) &&
      (record.k === "init" || (record.f !== undefined && !isLeading(record.f)));
    // A master without a raft record leads as soon as its steward begins.
    const bySteward = record.m === "steward" && record.k === "init" && !hasRaft.has(`${record.n}/${record.b}`);
    if (!byRaft && !bySteward) continue;
    if (last && !(last.n === record.n && last.b === record.b && bySteward))
      found.push(leaderLoss(records, at, last, timings));
    last = { n: record.n, b: record.b, at };
  }
  return found;
}

function leaderLoss(
  records: readonly StepRecord[],
  at: number,
  lost: { n: string; b: number; at: number },
  timings: Timings,
): Report {
  const elected = records[at] as StepRecord;
  const { n: successor, b: boot } = elected;
  const sameNode = (one: StepRecord): boolean => one.n === successor && one.b === boot;
  const earlier = records.slice(0, at).filter(sameNode);
  const entered = (role: string): StepRecord | undefined =>
    earlier.findLast(({ m, v, f }) => m === "raft" && v === role && f !== role && f !== undefined);
  const candidate = entered("candidate");
  const precandidate = earlier.findLast(
    (one) =>
      one.m === "raft" && one.v === "precandidate" && one.f === "follower" && one.h <= (candidate?.h ?? elected.h),
  );
  const signs = (event: string): StepRecord[] =>
    earlier
      .filter(({ m, e, h }) => m === "raft" && precandidate !== undefined && h < precandidate.h && e === event)
      .slice(-1);
  const [heard] = [...signs("rpc.beat"), ...signs("rpc.append")].sort((a, b) => lastMs(b) - lastMs(a));
  const opened =
    elected.m === "steward" || isInOffice(elected.v)
      ? elected
      : records.slice(at).find((one) => sameNode(one) && one.m === "raft" && isInOffice(one.v));
  const isRestart = lost.n === successor && lost.b !== boot;
  const lastWord = records.slice(0, at).findLast(({ n, b, k }) => n === lost.n && b === lost.b && k !== "proc");
  const started = earlier.find(({ k, e }) => k === "proc" && e === "started");
  const steps: Step[] = [];
  let from: number;
  let isFromKnown: boolean;
  if (isRestart || !precandidate) {
    isFromKnown = lastWord !== undefined;
    const word = Math.max(lastWord ? lastMs(lastWord) : elected.t, lastHeardMs(records, lost) ?? 0);
    from = Math.min(word, started && isRestart ? started.t : word);
    if (isRestart) steps.push(["down", "no master was running", started?.t ?? from, started ?? null]);
    steps.push(["takingOffice", "until it took office", opened?.t ?? null, opened ?? null]);
  } else {
    isFromKnown = heard !== undefined;
    from = heard ? lastMs(heard) : precandidate.t;
    steps.push(["missedHeartbeats", "heartbeats missed", precandidate.t, precandidate]);
    steps.push(["preVote", "asking whether it would be elected", (candidate ?? elected).t, candidate ?? null]);
    steps.push(["vote", "votes", elected.t, elected]);
    steps.push(["firstCommit", "first commit of the new term", opened?.t ?? null, opened ?? null]);
  }
  const phases = chained(from, steps);
  const to = phases.at(-1)?.to ?? null;
  const term = typeof elected.c?.term === "number" ? elected.c.term : null;
  const during = (one: StepRecord): boolean => one.t >= from && (to === null || one.t <= to);
  const drill = drillBefore(records, at, lost.n, from);
  const gone = records
    .slice(0, at)
    .findLast(({ m, s, t, v }) => m === "reach" && s === lost.n && v === "unknown" && t >= from);
  const stopped = records
    .slice(0, at)
    .findLast(({ n, b, k, e }) => n === lost.n && b === lost.b && k === "proc" && e === "stopped");
  const missed = Math.max(
    1,
    Math.floor(
      ((precandidate?.t ?? started?.t ?? elected.t) - from) / (timings.leaderHeartbeatMs ?? timings.heartbeatMs),
    ),
  );
  return {
    id: `leader-${idOf(elected)}`,
    kind: "leaderLoss",
    subject: lost.n,
    successor,
    term,
    title: isRestart ? `${lost.n} led, was gone, and leads again` : `${successor} followed ${lost.n} as leader`,
    from,
    atLeast: !isFromKnown,
    to,
    totalMs: to === null ? null : to - from,
    phases,
    ...damage(records, during, from, to),
    chunksAtRisk: { most: 0, fewestCopies: null, from: null, to: null, ms: null },
    copies: { healed: 0, failed: 0, cancelled: 0 },
    because: [
      `${to === null ? "no leader yet" : `${to - from} ms without a leader`}`,
      `because ${lost.n} ${stopped ? "was stopped" : isRestart ? "was down" : "was no longer heard"}`,
      ...(isRestart ? [] : [`because ${missed} ${missed === 1 ? "heartbeat was" : "heartbeats were"} missed`]),
      `since ${clockTime(from)}`,
      ...(drill ? [`because of a drill: ${drill.e}`] : []),
    ],
    records: [drill, heard, gone, precandidate, candidate, elected, opened].flatMap((one) => (one ? [idOf(one)] : [])),
  };
}

// ── both ───────────────────────────────────────────────────────────────────────────────────────────────────────────

/** Name, label, when it was over (null: it is not), the record that ended it. */
type Step = [name: string, label: string, to: number | null, record: StepRecord | null];

/**
 * Phases in a row: each begins where the one before ended, and none takes less than no time, whatever the clocks of the
 * nodes say that told of them. Their sum is the whole.
 */
function chained(from: number, steps: readonly Step[]): Phase[] {
  const phases: Phase[] = [];
  let at = from;
  for (const [name, label, ended, record] of steps) {
    const to = ended === null ? null : Math.max(at, ended);
    phases.push({ name, label, from: at, to, ms: to === null ? null : to - at, record: record && idOf(record) });
    if (to === null) break;
    at = to;
  }
  return phases;
}

/** Whether a text speaks of this node: `worker-1` is no part of `worker-10`. */
const names = (text: string, node: string): boolean => text.split(/[^\w-]+/).includes(node);

function damage(
  records: readonly StepRecord[],
  during: (record: StepRecord) => boolean,
  from: number,
  to: number | null,
): Pick<Report, "clients" | "between"> {
  const { errors, refused, between } = damageAmong(records.filter(during));
  const longest = longestWaitMs(records, from, to ?? Number.POSITIVE_INFINITY);
  return { clients: { errors, refused, longestWaitMs: longest }, between };
}

const DRILL_LOOK_BACK_MS = 60_000;

function drillBefore(records: readonly StepRecord[], at: number, node: string, from: number): StepRecord | undefined {
  return records
    .slice(0, at)
    .findLast(({ k, m, s, t }) => k === "mark" && m === "mark" && s === node && t >= from - DRILL_LOOK_BACK_MS);
}

/** 21:04:13.220, in the reader's own time zone. */
export function clockTime(ms: number): string {
  const at = new Date(ms);
  const two = (value: number): string => String(value).padStart(2, "0");
  return `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}.${String(at.getMilliseconds()).padStart(3, "0")}`;
}
