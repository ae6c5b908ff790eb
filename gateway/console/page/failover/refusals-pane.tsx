/** What was refused or failed in the last hour, and why. */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { RefusalList, StepRecord } from "../../api.ts";
import { idOf } from "../../order.ts";
import { askJson, sentenceOf } from "../ask.ts";
import { clockTime } from "../words.ts";
import { goTo, seek, source, trace, version } from "./playback.ts";

const EVERY_MS = 5000;

/** The same from the records of a recording. Pure but for the clock it is given. */
export function refusalsOf(records: readonly StepRecord[], timeOf: (record: StepRecord) => number): RefusalList {
  const entries = records
    .filter(({ k }) => k === "refused")
    .map((record) => ({
      at: timeOf(record),
      node: record.n,
      code: record.e,
      reason: String(record.d?.reason ?? ""),
      request: String(record.d?.request ?? ""),
      count: record.r ?? 1,
      failed: record.v === "failed",
      record: idOf(record),
    }))
    .reverse();
  const byCode: Record<string, number> = {};
  for (const { code, count } of entries) byCode[code] = (byCode[code] ?? 0) + count;
  return { minutes: 0, total: entries.reduce((sum, { count }) => sum + count, 0), byCode, entries };
}

export function RefusalsPane() {
  const list = useSignal<RefusalList | null>(null);
  const problem = useSignal<string | null>(null);
  const isLive = source.value.kind === "live";
  useEffect(() => {
    if (!isLive) {
      const held = trace();
      list.value = refusalsOf(held.records, (record) => held.timeOf(held.positionOf(record.h)));
      return;
    }
    let isGone = false;
    const load = async (): Promise<void> => {
      try {
        const answer = await askJson<RefusalList>("/console/api/refusals?minutes=60");
        if (isGone) return;
        list.value = answer;
        problem.value = null;
      } catch (error) {
        if (!isGone) problem.value = sentenceOf(error);
      }
    };
    void load();
    const timer = setInterval(load, EVERY_MS);
    return () => {
      isGone = true;
      clearInterval(timer);
    };
  }, [isLive, isLive ? 0 : version.value]);
  const answer = list.value;
  if (problem.value) return <p class="empty small">{problem.value}</p>;
  if (!answer) return null;
  if (answer.total === 0)
    return <p class="empty small">Nothing was refused {isLive ? "in the last hour" : "in this recording"}.</p>;
  return (
    <div class="refusals">
      <ul class="codes">
        {Object.entries(answer.byCode)
          .sort((a, b) => b[1] - a[1])
          .map(([code, count]) => (
            <li key={code}>
              <b>{count.toLocaleString("en")}</b> {code}
            </li>
          ))}
      </ul>
      <ol>
        {answer.entries.slice(0, 200).map((entry) => (
          <li key={entry.record}>
            <button
              type="button"
              class="refusal"
              onClick={() => {
                const record = trace().get(entry.record);
                if (record) goTo(record);
                else seek(trace().positionAt(entry.at));
              }}
            >
              <span class="mono quiet">{clockTime(entry.at)}</span>
              <b class={entry.failed ? "failed" : ""}>
                {entry.code}
                {entry.count > 1 ? ` ×${entry.count}` : ""}
              </b>
              <span class="quiet">
                {entry.node}, {entry.request}
              </span>
              <span class="reason">{entry.reason}</span>
            </button>
          </li>
        ))}
      </ol>
    </div>
  );
}
