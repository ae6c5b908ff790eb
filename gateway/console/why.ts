/** Why did this happen? One record with the chain of its causes, what it caused, and the edge that let it pass. Pure. */
import { recordId } from "../../actors/rules/record-id.ts";
import type { Chart, StepRecord, Why } from "./api.ts";
import { clockTime } from "./clock-time.ts";
import { stateOf } from "./state-at.ts";

/** Where records are looked up: a store on the gateway, a map in a browser. */
export interface RecordLookup {
  find(id: string): StepRecord | null;
  causedBy(id: string, limit: number): StepRecord[];
  /** The latest record of an actor before a clock reading. */
  before(n: string, a: string, h: string): StepRecord | null;
}

const MOST_CAUSES = 50;
const MOST_EFFECTS = 100;

export function whyOf(record: StepRecord, lookup: RecordLookup, charts: readonly Chart[]): Why {
  const causes: StepRecord[] = [];
  const seen = new Set([recordId(record)]);
  let breaksAt: string | null = null;
  for (let next = record.w; next !== undefined && causes.length < MOST_CAUSES && !seen.has(next); ) {
    seen.add(next);
    const cause = lookup.find(next);
    if (!cause) {
      breaksAt = next;
      break;
    }
    causes.push(cause);
    next = cause.w;
  }
  const chart = charts.find(({ machine }) => machine === record.m);
  const edges = (record.x ?? []).map((id) => {
    const edge = chart?.edges.find((one) => one.id === id);
    const [source = id] = id.split(":");
    return {
      id,
      from: edge?.source ?? source,
      to: edge?.targets ?? [],
      guard: edge?.guard ?? null,
      actions: edge?.actions ?? [],
    };
  });
  const earlier = lookup.before(record.n, record.a, record.h);
  return {
    record,
    edges,
    before: earlier && record.k !== "init" ? stateOf(earlier) : null,
    causes,
    chainBreaksAt: breaksAt,
    effects: lookup.causedBy(recordId(record), MOST_EFFECTS),
    sentences: [record, ...causes].map((one, n) => (n === 0 ? sentence(one) : `because ${sentence(one)}`)),
  };
}

/** Looks records up in an array that is in order. */
export function lookupIn(records: readonly StepRecord[]): RecordLookup {
  const byId = new Map(records.map((record) => [recordId(record), record]));
  return {
    find: (id) => byId.get(id) ?? null,
    causedBy: (id, limit) => records.filter(({ w }) => w === id).slice(0, limit),
    before: (n, a, h) => records.findLast((one) => one.n === n && one.a === a && one.h < h) ?? null,
  };
}

/** In words: `worker-3 became heard.dead at master-1, 21:04:13.220 (after deadAfterSuspicionMs)` */
function sentence({ n, m, s, k, e, f, v, t, r, d }: StepRecord): string {
  const who = s === n ? `${m} of ${n}` : `${m} of ${s} at ${n}`;
  const when = clockTime(t);
  if (k === "proc") return `${n} ${e === "crashed" ? "had ended without a word" : e}, ${when}`;
  if (k === "refused")
    return `${n} ${v} ${String(d?.request ?? "a request")}: ${e}, ${String(d?.reason ?? "")}, ${when}`;
  if (k === "init") return `${who} began as ${v}, ${when}`;
  if (k === "fault") return `${who} failed on ${e}, ${when}`;
  if (k === "ignored") return `${who} had no use for ${e} in ${v}, ${when}`;
  const times = r === undefined ? "" : ` (${r} times)`;
  return f === undefined
    ? `${who} took ${e}${times} in ${v}, ${when}`
    : `${who} went from ${f} to ${v} on ${e}, ${when}`;
}
