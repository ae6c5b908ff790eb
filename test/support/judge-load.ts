/** Ends a recorded load on a real cluster, and judges its history by both checks and by the masters' own logs. */
import { expect } from "bun:test";
import { inWords } from "../linearizability/check.ts";
import { fileModel } from "../linearizability/file-model.ts";
import { judgeCalls } from "./judge-calls.ts";
import { evidenceOf, firstDifference, logOfStopped } from "./master-logs.ts";
import type { RealCluster } from "./real-cluster.ts";
import type { RecordedLoad } from "./recorded-load.ts";

/** At most this share of the parts may be too hard to judge. */
const UNDECIDED_AT_MOST = 0.01;

/** `config.raft` of clusters whose masters' logs are read at the end: nothing of them is cut off. */
export const WHOLE_LOG = { heartbeatMs: 60, electionMs: 600, keepEntries: 1_000_000, maxStaleMs: 5000 };

/** Files lie in the metadata and on workers, by turns, if the load's files have the lengths below. */
export const BOTH_KINDS = { tinyFileBytes: 2048 };
export const tinyOrLonger = (random: () => number) => (): number => (random() < 0.5 ? 0 : BOTH_KINDS.tinyFileBytes);

/**
 * Stops the load and all masters. Expects that no acknowledged change is lost, that none took effect twice, that no strong
 * read was stale, that the masters' logs are the same, and that each promise of "nothing happened" was kept.
 *
 * @param masters those that hold the log from its beginning
 */
export async function expectOneHistory(cluster: RealCluster, load: RecordedLoad, masters: string[]): Promise<void> {
  await load.stop();
  let committed = 0;
  await cluster.until("all masters have applied the same", 20_000, async () => {
    const view = await cluster.client.masters();
    const theirs = view.masters.filter(({ id }) => masters.includes(id));
    committed = Math.max(...theirs.map(({ commitIndex }) => commitIndex ?? 0));
    return theirs.every(({ appliedIndex }) => (appliedIndex ?? 0) >= committed);
  });
  await Promise.all(cluster.pids().map(({ id, kind }) => kind === "master" && cluster.kill(id)));
  const [log = [], ...others] = masters.map((id) => logOfStopped(cluster.dataOf(id)));
  for (const other of others) expect(firstDifference(log, other, committed)).toBeNull();

  const { calls, broken, provedAbsent, sentAgain } = evidenceOf(load.history, log, committed);
  const { effective, blackBox, witness } = judgeCalls(calls);
  const unknown = effective.filter((one) => one.outcome === null && fileModel.changes(one.op, null)).length;
  console.log(
    [
      `any order:       ${inWords(blackBox)}`,
      `the log's order: ${inWords(witness)}`,
      `${unknown} changes of unknown outcome, ${provedAbsent} proved absent; ${sentAgain} sent again and done once`,
    ].join("\n"),
  );
  for (const violation of [...blackBox.violations, ...witness.violations]) console.log(violation);
  expect({
    inAnyOrder: blackBox.violations.length,
    inTheLogsOrder: witness.violations.length,
    surprises: load.surprises,
    effectsOfWhatWasRefused: broken,
  }).toEqual({ inAnyOrder: 0, inTheLogsOrder: 0, surprises: [], effectsOfWhatWasRefused: [] });
  expect(blackBox.undecided.length / blackBox.parts).toBeLessThan(UNDECIDED_AT_MOST);
  expect(witness.parts).toBeGreaterThan(0);
}
