/** Takes the loss of a leader apart: missed heartbeats, pre-vote, vote, first commit. Pure. */
import { recordId } from "../../actors/rules/record-id.ts";
import type { About, Report, StepRecord } from "./api.ts";
import { clockTime } from "./clock-time.ts";
import { lastHeardMs } from "./last-heard.ts";
import { lastMs } from "./order.ts";
import { chained, damage, drillBefore, idsOf, type Step } from "./report-parts.ts";

type Timings = About["timings"];

const isLeading = (v: string): boolean => /^leader(\.|$)/.test(v);
const isFollowing = (v = ""): boolean => /^follower(\.|$)/.test(v);
const isInOffice = (v: string): boolean => isLeading(v) && v.includes("office.ready");

/** A time in which one process led. */
interface Reign {
  n: string;
  /** 0: these records do not say which start of the node it was. */
  b: number;
  /** 0: not known. */
  term: number;
}

const termOf = ({ c }: StepRecord): number => (typeof c?.term === "number" ? c.term : 0);

/** @returns who leads, by the word of one that follows; the leader's own records may be out of reach */
function reignSeen(record: StepRecord): Reign | null {
  const { m, v, c, w } = record;
  if (m !== "raft" || !isFollowing(v) || typeof c?.leaderId !== "string") return null;
  const [n, b] = w?.split("/") ?? [];
  return { n: c.leaderId, b: n === c.leaderId ? Number(b) : 0, term: termOf(record) };
}

/** @param records of all nodes, in order */
export function leaderLosses(records: readonly StepRecord[], timings: Timings): Report[] {
  const found: Report[] = [];
  /** Who led last. */
  let last: Reign | null = null;
  const hasRaft = new Set(records.filter(({ m }) => m === "raft").map(({ n, b }) => `${n}/${b}`));
  for (const [at, record] of records.entries()) {
    const byRaft =
      record.m === "raft" &&
      isLeading(record.v) &&
      (record.k === "init" || (record.f !== undefined && !isLeading(record.f)));
    // A master without a raft record leads as soon as its steward begins.
    const bySteward = record.m === "steward" && record.k === "init" && !hasRaft.has(`${record.n}/${record.b}`);
    if (!byRaft && !bySteward) {
      const seen = reignSeen(record);
      if (seen && seen.term > (last?.term ?? 0)) last = seen;
      continue;
    }
    if (last && !(last.n === record.n && last.b === record.b && bySteward))
      found.push(leaderLoss(records, at, last, timings));
    last = { n: record.n, b: record.b, term: termOf(record) };
  }
  return found;
}

/** What the successor's own records say of the way to its election. */
interface Way {
  elected: StepRecord;
  precandidate: StepRecord | undefined;
  candidate: StepRecord | undefined;
  /** The last sign of the leader before it asked whether it would be elected. */
  heard: StepRecord | undefined;
  /** When it took office. */
  opened: StepRecord | undefined;
  /** When its process started, if these records have it. */
  started: StepRecord | undefined;
}

function wayTo(records: readonly StepRecord[], at: number): Way {
  const elected = records[at] as StepRecord;
  const sameNode = (one: StepRecord): boolean => one.n === elected.n && one.b === elected.b;
  const earlier = records.slice(0, at).filter(sameNode);
  const candidate = earlier.findLast(
    ({ m, v, f }) => m === "raft" && v === "candidate" && f !== "candidate" && f !== undefined,
  );
  const precandidate = earlier.findLast(
    (one) => one.m === "raft" && one.v === "precandidate" && isFollowing(one.f) && one.h <= (candidate?.h ?? elected.h),
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
  const started = earlier.find(({ k, e }) => k === "proc" && e === "started");
  return { elected, precandidate, candidate, heard, opened, started };
}

/** The phases' steps, and when the first of them began. `isKnown` false: it may have begun earlier. */
interface Course {
  from: number;
  isKnown: boolean;
  steps: Step[];
}

/** The master led before, or came to lead without an election that these records show. */
function courseOfRestart(
  records: readonly StepRecord[],
  at: number,
  lost: Reign,
  way: Way,
  isRestart: boolean,
): Course {
  const { elected, started, opened } = way;
  const lastWord = records.slice(0, at).findLast(({ n, b, k }) => n === lost.n && b === lost.b && k !== "proc");
  const word = Math.max(lastWord ? lastMs(lastWord) : elected.t, lastHeardMs(records, lost) ?? 0);
  const from = Math.min(word, started && isRestart ? started.t : word);
  const steps: Step[] = [];
  if (isRestart) steps.push(["down", "no master was running", started?.t ?? from, started ?? null]);
  steps.push(["takingOffice", "until it took office", opened?.t ?? null, opened ?? null]);
  return { from, isKnown: lastWord !== undefined, steps };
}

function courseOfElection({ elected, candidate, heard, opened }: Way, precandidate: StepRecord): Course {
  const steps: Step[] = [
    ["missedHeartbeats", "heartbeats missed", precandidate.t, precandidate],
    ["preVote", "asking whether it would be elected", (candidate ?? elected).t, candidate ?? null],
    ["vote", "votes", elected.t, elected],
    ["firstCommit", "first commit of the new term", opened?.t ?? null, opened ?? null],
  ];
  return { from: heard ? lastMs(heard) : precandidate.t, isKnown: heard !== undefined, steps };
}

function leaderLoss(records: readonly StepRecord[], at: number, lost: Reign, timings: Timings): Report {
  const way = wayTo(records, at);
  const { elected, precandidate, candidate, heard, opened, started } = way;
  const { n: successor, b: boot } = elected;
  const isRestart = lost.n === successor && lost.b !== boot && lost.b > 0;
  const { from, isKnown, steps } =
    isRestart || !precandidate
      ? courseOfRestart(records, at, lost, way, isRestart)
      : courseOfElection(way, precandidate);
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
    id: `leader-${recordId(elected)}`,
    kind: "leaderLoss",
    subject: lost.n,
    successor,
    term,
    title: isRestart ? `${lost.n} led, was gone, and leads again` : `${successor} followed ${lost.n} as leader`,
    from,
    atLeast: !isKnown,
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
    records: idsOf([drill, heard, gone, precandidate, candidate, elected, opened]),
  };
}
