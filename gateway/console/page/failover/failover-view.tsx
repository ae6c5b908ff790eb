/** The failover, taken apart: nodes, the machines they run, the timeline, and what happened on it. */
import { signal } from "@preact/signals";
import { useLayoutEffect, useRef } from "preact/hooks";
import { Icon } from "../shell/icon.tsx";
import { isStale } from "../silence.ts";
import { clockTime } from "../words.ts";
import { DetailsPane } from "./details-pane.tsx";
import { DrillsPane } from "./drills-pane.tsx";
import { EventsList } from "./events-list.tsx";
import { streamPhase } from "./live.ts";
import { MachineChart } from "./machine-chart.tsx";
import { NodesPanel } from "./nodes-panel.tsx";
import {
  about,
  goLive,
  isPlaying,
  machines,
  reports,
  seek,
  selected,
  source,
  step,
  togglePlay,
  trace,
  version,
} from "./playback.ts";
import { openRecording, saveRecording } from "./recording-file.ts";
import { RefusalsPane } from "./refusals-pane.tsx";
import { ReportsPane } from "./reports-pane.tsx";
import { machine } from "./share.ts";
import { pan, Timeline, zoom } from "./timeline.tsx";

const PANES = {
  events: "Events",
  reports: "Failovers",
  refusals: "Refusals",
  drills: "Drills",
} as const;
type Pane = keyof typeof PANES;
const pane = signal<Pane>("events");

/** Keys of the timeline, wherever one is on the page but for fields. */
function onKey(event: KeyboardEvent): void {
  const target = event.target as HTMLElement;
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (target.closest("input, select, textarea, dialog, .chart-scroll")) return;
  if (event.key === " " && target.closest("button, summary, a")) return;
  if (event.key.startsWith("Arrow") && target.closest("[role=tab]")) return;
  const act: Record<string, () => void> = {
    ArrowLeft: () => (event.shiftKey ? pan(-0.2) : step(-1)),
    ArrowRight: () => (event.shiftKey ? pan(0.2) : step(1)),
    " ": togglePlay,
    l: goLive,
    "+": () => zoom(0.7),
    "=": () => zoom(0.7),
    "-": () => zoom(1 / 0.7),
    Home: () => seek(trace().first),
    End: goLive,
    Escape: () => {
      selected.value = null;
    },
  };
  const action = act[event.key];
  if (!action) return;
  event.preventDefault();
  action();
}

/** Arrows go through tabs, as they do everywhere. */
function onTabKey(event: KeyboardEvent): void {
  const step = event.key === "ArrowRight" ? 1 : event.key === "ArrowLeft" ? -1 : 0;
  if (step === 0) return;
  event.preventDefault();
  const tabs = [...(event.currentTarget as HTMLElement).querySelectorAll<HTMLElement>("[role=tab]")];
  const next = tabs[(tabs.indexOf(event.target as HTMLElement) + step + tabs.length) % tabs.length];
  next?.focus();
  next?.click();
}

export function FailoverView() {
  // Keys and drops count from the moment the view is seen.
  useLayoutEffect(() => {
    addEventListener("keydown", onKey);
    const drop = (event: DragEvent): void => {
      const file = event.dataTransfer?.files[0];
      event.preventDefault();
      if (file) void openRecording(file);
    };
    const over = (event: DragEvent): void => event.preventDefault();
    addEventListener("drop", drop);
    addEventListener("dragover", over);
    return () => {
      isPlaying.value = false;
      removeEventListener("keydown", onKey);
      removeEventListener("drop", drop);
      removeEventListener("dragover", over);
    };
  }, []);
  return (
    <div class="failover">
      <h1 class="visually-hidden">Failover</h1>
      <SourceBar />
      <aside class="panel failover-nodes">
        <NodesPanel />
      </aside>
      <Machines />
      <Inspector />
      <Timeline />
    </div>
  );
}

function SourceBar() {
  const chooser = useRef<HTMLInputElement>(null);
  const isLive = source.value.kind === "live";
  return (
    <div class="source-bar">
      {isLive && <StreamState />}
      <span class="spacer" />
      {isLive && (
        <button type="button" class="button" disabled={isStale.value} onClick={() => void saveRecording(10)}>
          <Icon name="download" /> Save the last 10 minutes
        </button>
      )}
      <button type="button" class="button" onClick={() => chooser.current?.click()}>
        <Icon name="file" /> Open a recording
      </button>
      <input
        ref={chooser}
        id="open-recording"
        class="visually-hidden"
        type="file"
        tabIndex={-1}
        aria-label="Recording to open"
        onChange={() => {
          const file = chooser.current?.files?.[0];
          if (file) void openRecording(file);
          if (chooser.current) chooser.current.value = "";
        }}
      />
    </div>
  );
}

function StreamState() {
  version.value;
  if (about.value?.recording === false)
    return <p class="stream-state wary">This cluster records nothing: its configuration says so.</p>;
  if (streamPhase.value === "open") {
    const { records } = trace();
    return (
      <p class="stream-state quiet">
        {records.length.toLocaleString("en")} events held
        {records.length > 0 ? `, since ${clockTime(trace().timeOf(trace().first), false)}` : ""}
      </p>
    );
  }
  return (
    <p class="stream-state wary" role="status">
      {streamPhase.value === "broken"
        ? "No records come now; what was held stays, and it goes on when the gateway answers."
        : "Connecting to the nodes' records…"}
    </p>
  );
}

function Machines() {
  const list = machines.value;
  const shown = list.find(({ chart }) => chart.machine === machine.value) ?? list[0];
  return (
    <section class="panel failover-machines" aria-label="State machines">
      <div class="tabs" role="tablist" aria-label="Machine" onKeyDown={onTabKey}>
        {list.map(({ chart }) => (
          <button
            key={chart.machine + chart.hash}
            type="button"
            role="tab"
            class="tab"
            aria-selected={chart === shown?.chart}
            onClick={() => {
              machine.value = chart.machine;
            }}
          >
            {chart.machine}
          </button>
        ))}
      </div>
      {shown ? (
        <MachineChart key={shown.chart.machine + shown.chart.hash} chart={shown.chart} layout={shown.layout} />
      ) : (
        <p class="empty small">No machine has told of itself yet.</p>
      )}
    </section>
  );
}

function Inspector() {
  const count = reports.value.length;
  return (
    <section class="panel failover-inspector" aria-label="What happened">
      <div class="tabs" role="tablist" aria-label="What happened" onKeyDown={onTabKey}>
        {Object.entries(PANES).map(([name, label]) => (
          <button
            key={name}
            type="button"
            role="tab"
            class="tab"
            id={`tab-${name}`}
            aria-selected={pane.value === name}
            aria-controls="pane"
            onClick={() => {
              pane.value = name as Pane;
            }}
          >
            {label}
            {name === "reports" && count > 0 && <span class="badge">{count}</span>}
          </button>
        ))}
      </div>
      <div class="pane" id="pane" role="tabpanel" aria-labelledby={`tab-${pane.value}`}>
        {pane.value === "events" && <EventsList />}
        {pane.value === "reports" && <ReportsPane />}
        {pane.value === "refusals" && <RefusalsPane />}
        {pane.value === "drills" && <DrillsPane />}
      </div>
      <DetailsPane />
    </section>
  );
}
