/** What happened, newest first, up to the shown instant; only the rows on the screen exist. */

import { computed, signal, useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { recordId } from "../../../../actors/rules/record-id.ts";
import type { StepRecord } from "../../api.ts";
import { clockTime, durationInWords } from "../words.ts";
import { goTo, instant, isTelling, selected, trace, version } from "./playback.ts";
import { matcherOf } from "./record-filter.ts";
import { shortState, type Tone, toneOf } from "./tones.ts";
import { upperBound } from "./trace.ts";

const ROW = 46;
const SPARE_ROWS = 6;

const filterText = signal("");
const showsAll = signal(false);

const SEARCHED = 60_000;

/** Positions into the trace's records, rising. */
const listed = computed<{ records: StepRecord[]; at: number[] }>(() => {
  version.value;
  const matches = matcherOf(filterText.value);
  const held = trace();
  const records: StepRecord[] = [];
  const at: number[] = [];
  for (let n = Math.max(0, held.records.length - SEARCHED); n < held.records.length; n++) {
    const record = held.records[n] as StepRecord;
    if (!(showsAll.value || isTelling(record)) || !matches(record)) continue;
    records.push(record);
    at.push(held.at[n] as number);
  }
  return { records, at };
});

export function EventsList() {
  const list = useRef<HTMLDivElement>(null);
  const scrolled = useSignal(0);
  const height = useSignal(400);
  const { records, at } = listed.value;
  useEffect(() => {
    const element = list.current as HTMLDivElement;
    const observer = new ResizeObserver(() => {
      height.value = element.clientHeight;
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  // Newest first; what is later than the instant stays above, dimmed.
  const here = upperBound(at, instant.value);
  const topRow = records.length - here;
  useEffect(() => {
    const element = list.current as HTMLDivElement;
    const top = Math.max(0, topRow - 2) * ROW;
    const isInSight =
      topRow * ROW >= element.scrollTop && (topRow + 1) * ROW <= element.scrollTop + element.clientHeight;
    if (!isInSight) element.scrollTop = top;
  }, [topRow, selected.value]);
  const first = Math.max(0, Math.floor(scrolled.value / ROW) - SPARE_ROWS);
  const last = Math.min(records.length, Math.ceil((scrolled.value + height.value) / ROW) + SPARE_ROWS);
  const shown = [];
  for (let row = first; row < last; row++) {
    const index = records.length - 1 - row;
    shown.push({ row, record: records[index] as StepRecord, isLater: index >= here });
  }
  return (
    <div class="events">
      <div class="events-bar">
        <label class="search">
          <span class="visually-hidden">Filter events</span>
          <input
            type="search"
            placeholder="Filter: worker-3 suspect, machine:raft …"
            value={filterText.value}
            onInput={(event) => {
              filterText.value = event.currentTarget.value;
            }}
          />
        </label>
        <label class="check">
          <input
            type="checkbox"
            checked={showsAll.value}
            onChange={(event) => {
              showsAll.value = event.currentTarget.checked;
            }}
          />
          also those that change nothing
        </label>
        <span class="quiet count" role="status">
          {records.length.toLocaleString("en")} of {trace().records.length.toLocaleString("en")}
        </span>
      </div>
      <div
        class="events-scroll"
        ref={list}
        onScroll={(event) => {
          scrolled.value = event.currentTarget.scrollTop;
        }}
      >
        {records.length === 0 && <p class="empty small">Nothing like that was recorded.</p>}
        <ol id="events" style={{ height: `${records.length * ROW}px` }}>
          {shown.map(({ row, record, isLater }) => (
            <li key={recordId(record)} style={{ top: `${row * ROW}px` }} data-record={recordId(record)}>
              <EventRow record={record} isLater={isLater} />
            </li>
          ))}
        </ol>
      </div>
    </div>
  );
}

const toneOfProcess = (event: string): Tone =>
  event === "started" ? "good" : event === "crashed" || event === "failed" ? "down" : "wary";

export function EventRow({
  record,
  isLater = false,
  sinceMs,
}: {
  record: StepRecord;
  isLater?: boolean;
  sinceMs?: number;
}) {
  const { n, s, m, e, v, f, k, r } = record;
  const tone = k === "fault" || k === "refused" ? "down" : k === "proc" ? toneOfProcess(e) : toneOf(m, v);
  const held = trace();
  const position = held.positionOf(record.h);
  return (
    <button
      type="button"
      class={`event-row ${tone} ${isLater ? "later" : ""}`}
      aria-pressed={selected.value === recordId(record)}
      onClick={() => goTo(record)}
    >
      <span class="event-time mono">
        {sinceMs === undefined ? clockTime(held.timeOf(position)) : `${durationInWords(sinceMs)} before`}
      </span>
      <span class="event-node">{n}</span>
      <span class="event-name">
        {e}
        {r ? <span class="times"> ×{r}</span> : null}
      </span>
      <span class="event-state">
        <span class="quiet">
          {m}
          {s !== n ? ` ${s}` : ""}
        </span>
        {f !== undefined || k === "init" ? (
          <span class={`to ${tone}`}> → {shortState(v)}</span>
        ) : (
          <span class="quiet"> {k === "tr" || k === "proc" ? "" : k}</span>
        )}
      </span>
    </button>
  );
}
