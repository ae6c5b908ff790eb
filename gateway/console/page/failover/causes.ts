/** What led to a record, and what it led to, as far as the page holds it. */
import { recordId } from "../../../../actors/rules/record-id.ts";
import type { StepRecord } from "../../api.ts";
import { trace } from "./playback.ts";

const LONGEST_CHAIN = 24;

/** Nearest first. */
export function causesOf(record: StepRecord): StepRecord[] {
  const chain: StepRecord[] = [];
  const seen = new Set([recordId(record)]);
  let next = record.w;
  while (next !== undefined && !seen.has(next) && chain.length < LONGEST_CHAIN) {
    seen.add(next);
    const cause = trace().get(next);
    if (!cause) break;
    chain.push(cause);
    next = cause.w;
  }
  return chain;
}

const MOST_EFFECTS = 12;
/** Effects come soon after their cause; the search ends after this many records. */
const LOOKED_AT = 5000;

export function effectsOf(record: StepRecord): StepRecord[] {
  const { records } = trace();
  const id = recordId(record);
  const found: StepRecord[] = [];
  const start = records.indexOf(record);
  for (let n = start + 1; n < Math.min(records.length, start + LOOKED_AT) && found.length < MOST_EFFECTS; n++)
    if (records[n]?.w === id) found.push(records[n] as StepRecord);
  return found;
}
