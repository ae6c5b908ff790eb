/** Why: one event with its payload, the guard that let it pass, before and after, its causes and its effects. */

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { recordId } from "../../../../actors/rules/record-id.ts";
import type { ChartEdge, StepRecord, Why } from "../../api.ts";
import { announce } from "../announce.ts";
import { askJson } from "../ask.ts";
import { Icon } from "../shell/icon.tsx";
import { clockTime } from "../words.ts";
import { causesOf, effectsOf } from "./causes.ts";
import { edgeInWords } from "./chart-text.ts";
import { EventRow } from "./events-list.tsx";
import { machines, selected, source, trace, version } from "./playback.ts";
import { shareLink } from "./share.ts";
import { toneOf } from "./tones.ts";

export function DetailsPane() {
  version.value;
  const id = selected.value;
  const record = id === null ? undefined : trace().get(id);
  const why = useSignal<Why | null>(null);
  useEffect(() => {
    why.value = null;
    if (id === null || source.value.kind !== "live") return;
    let isGone = false;
    askJson<Why>(`/console/api/why?record=${encodeURIComponent(id)}`).then(
      (answer) => {
        if (!isGone) why.value = answer;
      },
      () => undefined,
    );
    return () => {
      isGone = true;
    };
  }, [id, source.value]);
  if (!record) return null;
  return (
    <section class="event-details" aria-label="Selected event">
      <header class="panel-head">
        <h2>
          {record.e} <span class="quiet">on {record.n}</span>
        </h2>
        <button
          type="button"
          class="icon-button"
          aria-label="Copy a link to this event"
          onClick={() => void copyLink()}
        >
          <Icon name="link" />
        </button>
        <button
          type="button"
          class="icon-button"
          aria-label="Close"
          onClick={() => {
            selected.value = null;
          }}
        >
          <Icon name="close" />
        </button>
      </header>
      <Facts record={record} />
      <Chain record={record} why={why.value} />
    </section>
  );
}

/** Browsers have a clipboard for pages of this machine and of TLS only; elsewhere the link is shown, to be copied by hand. */
async function copyLink(): Promise<void> {
  const link = shareLink();
  try {
    await navigator.clipboard.writeText(link);
    announce("The link is copied.");
  } catch {
    announce(link);
  }
}

function edgesOf(record: StepRecord): ChartEdge[] {
  const chart = machines.value.find((one) => one.chart.machine === record.m)?.chart;
  return (record.x ?? []).map((id) => chart?.edges.find((edge) => edge.id === id)).filter((edge) => edge !== undefined);
}

const inLines = (value: string) => value.split("|").map((part) => <div key={part}>{part}</div>);

function Facts({ record }: { record: StepRecord }) {
  const { n, s, d, c, f, v, tm, r, l, t, m, k } = record;
  const edges = edgesOf(record);
  return (
    <dl class="facts">
      <dt>What</dt>
      <dd>
        {KINDS[k]} of {m}
        {s === n ? "" : `, about ${s}`}
      </dd>
      <dt>When</dt>
      <dd class="mono">
        {clockTime(t)} <span class="quiet">by its own clock</span>
        {r && l ? ` and ${r - 1} more until ${clockTime(l)}` : ""}
      </dd>
      {f !== undefined && (
        <>
          <dt>Before</dt>
          <dd class="mono">{inLines(f)}</dd>
        </>
      )}
      {v !== "" && (
        <>
          <dt>{f === undefined ? "State" : "After"}</dt>
          <dd class={`mono to ${toneOf(m, v)}`}>{inLines(v)}</dd>
        </>
      )}
      {edges.map((edge) => (
        <EdgeFact key={edge.id} edge={edge} />
      ))}
      {d && <Value name="Payload" value={d} />}
      {c && <Value name="Context" value={c} />}
      {tm && tm.length > 0 && (
        <>
          <dt>Timers</dt>
          <dd class="mono">{tm.map(({ id, ms }) => `${id} in ${ms} ms`).join(", ")}</dd>
        </>
      )}
    </dl>
  );
}

const KINDS: Record<StepRecord["k"], string> = {
  init: "the beginning",
  tr: "a transition",
  ignored: "an event that no state took",
  fault: "a fault",
  proc: "something that befell the process",
  refused: "a refusal",
  sum: "figures",
  gap: "missing records",
  mark: "a note",
};

const EdgeFact = ({ edge }: { edge: ChartEdge }) => (
  <>
    <dt>Because</dt>
    <dd>
      <span class="mono">{edgeInWords(edge)}</span>
      {edge.guard && (
        <div class="guard">
          <Icon name="check" /> guard <b>{edge.guard}</b> let it pass
        </div>
      )}
      {edge.description && <div class="quiet">{edge.description}</div>}
    </dd>
  </>
);

const Value = ({ name, value }: { name: string; value: Record<string, unknown> }) => (
  <>
    <dt>{name}</dt>
    <dd>
      <pre>{JSON.stringify(value, null, 1).replace(/^\{\n|\n\}$/g, "")}</pre>
    </dd>
  </>
);

function Chain({ record, why }: { record: StepRecord; why: Why | null }) {
  const held = trace();
  const known = causesOf(record);
  const causes = known.length > 0 ? known : (why?.causes ?? []);
  const effects = effectsOf(record);
  const at = held.positionOf(record.h);
  const end = causes.at(-1) ?? record;
  const isBroken = end.w !== undefined && !held.get(end.w);
  return (
    <>
      {why && why.sentences.length > 0 && (
        <ul class="sentences">
          {why.sentences.map((sentence) => (
            <li key={sentence}>{sentence}</li>
          ))}
        </ul>
      )}
      <h3>Caused by</h3>
      {causes.length === 0 ? (
        <p class="quiet">
          {record.w ? `${record.w}, which is not in what the page holds.` : "Nothing before it: the chain begins here."}
        </p>
      ) : (
        <ol class="chain">
          {causes.map((cause) => (
            <li key={recordId(cause)}>
              <EventRow record={cause} sinceMs={Math.max(0, at - held.positionOf(cause.h))} />
            </li>
          ))}
        </ol>
      )}
      {isBroken && causes.length > 0 && <p class="quiet">Further back: {end.w}, which is not held.</p>}
      {record.ti && <p class="quiet">Part of trace {record.ti}.</p>}
      {effects.length > 0 && (
        <>
          <h3>It caused</h3>
          <ol class="chain">
            {effects.map((effect) => (
              <li key={recordId(effect)}>
                <EventRow record={effect} />
              </li>
            ))}
          </ol>
        </>
      )}
    </>
  );
}
