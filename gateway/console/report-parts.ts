/** What reports of every kind are made of: phases in a row, damage, the drill that came before. Pure. */
import { recordId } from "../../actors/rules/record-id.ts";
import type { Phase, Report, StepRecord } from "./api.ts";
import { damageAmong, longestWaitMs } from "./refusals.ts";

/** Name, label, when it was over (null: it is not), the record that ended it. */
export type Step = [name: string, label: string, to: number | null, record: StepRecord | null];

/**
 * Phases in a row: each begins where the one before ended, and none has a negative length, whatever the clocks of
 * the recording nodes say. The phases add up to the whole.
 */
export function chained(from: number, steps: readonly Step[]): Phase[] {
  const phases: Phase[] = [];
  let at = from;
  for (const [name, label, ended, record] of steps) {
    const to = ended === null ? null : Math.max(at, ended);
    phases.push({ name, label, from: at, to, ms: to === null ? null : to - at, record: record && recordId(record) });
    if (to === null) break;
    at = to;
  }
  return phases;
}

export function damage(
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

export function drillBefore(
  records: readonly StepRecord[],
  at: number,
  node: string,
  from: number,
): StepRecord | undefined {
  return records
    .slice(0, at)
    .findLast(({ k, m, s, t }) => k === "mark" && m === "mark" && s === node && t >= from - DRILL_LOOK_BACK_MS);
}

/** The names of the records that were found. */
export const idsOf = (records: readonly (StepRecord | undefined)[]): string[] =>
  records.flatMap((one) => (one ? [recordId(one)] : []));
