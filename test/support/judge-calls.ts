/** Recorded calls, with what the log knows of them, against the model of files: in any order, and in the log's own. */
import { type Judged, judgeBlackBox, judgeWitness } from "../linearizability/check.ts";
import { fileModel } from "../linearizability/file-model.ts";
import { partition } from "../linearizability/partition.ts";
import type { RecordedCall } from "./recorded-load.ts";

export interface JudgedCalls {
  /** Those that were not told that nothing happened. */
  effective: RecordedCall[];
  blackBox: Judged;
  /** Of the parts of which the log knows every change. */
  witness: Judged;
}

/** @param calls each with the index of its entry in the log, if it has a key and the log has it */
export function judgeCalls(calls: readonly RecordedCall[]): JudgedCalls {
  const effective = calls.filter(({ withoutEffect }) => !withoutEffect);
  const possible = effective.filter((one) => !isProvedAbsent(one));
  const known = partition(fileModel, effective).filter((part) => part.every(isKnownToTheLog));
  return {
    effective,
    blackBox: judgeBlackBox(fileModel, possible),
    witness: judgeWitness(fileModel, known.flat()),
  };
}

const isKnownToTheLog = ({ key, op, outcome }: RecordedCall): boolean =>
  key !== null || !fileModel.changes(op, outcome);

const isProvedAbsent = ({ key, outcome, index }: RecordedCall): boolean =>
  key !== null && outcome === null && index === null;
