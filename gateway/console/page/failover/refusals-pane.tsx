/** What was refused or failed in the last hour, and why. */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { RefusalEntry, RefusalList } from "../../api.ts";
import { refusalsOf } from "../../refusals.ts";
import { askJson, sentenceOf } from "../ask.ts";
import { clockTime } from "../words.ts";
import { goTo, seek, source, trace, version } from "./playback.ts";

const EVERY_MS = 5000;

export function RefusalsPane() {
  const list = useSignal<RefusalList | null>(null);
  const problem = useSignal<string | null>(null);
  const isLive = source.value.kind === "live";
  useEffect(() => {
    if (!isLive) {
      const held = trace();
      list.value = { minutes: 0, ...refusalsOf(held.records, (record) => held.timeOf(held.positionOf(record.h))) };
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
  const { entries, between } = answer;
  const inside = entries.filter(({ to }) => to === "node");
  return (
    <div class="refusals">
      {answer.total === 0 && (
        <p class="empty small">No client was refused anything {isLive ? "in the last hour" : "in this recording"}.</p>
      )}
      <Codes byCode={answer.byCode} />
      <Entries list={entries.filter(({ to }) => to === "client")} />
      {between.total > 0 && (
        <details class="between">
          <summary>
            {between.total.toLocaleString("en")} between nodes, which try again by themselves: no client saw them
          </summary>
          <Codes byCode={between.byCode} />
          <Entries list={inside} />
        </details>
      )}
    </div>
  );
}

const Codes = ({ byCode }: Pick<RefusalList, "byCode">) => (
  <ul class="codes">
    {Object.entries(byCode)
      .sort((a, b) => b[1] - a[1])
      .map(([code, count]) => (
        <li key={code}>
          <b>{count.toLocaleString("en")}</b> {code}
        </li>
      ))}
  </ul>
);

const Entries = ({ list }: { list: RefusalEntry[] }) => (
  <ol>
    {list.slice(0, 200).map((entry) => (
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
);
