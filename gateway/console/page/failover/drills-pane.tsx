/** Trouble on purpose, and whether the cluster took it within its budgets. */
import { type Signal, useSignal } from "@preact/signals";
import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import type { Drill, DrillKind, DrillList } from "../../api.ts";
import { announce } from "../announce.ts";
import { askJson, postJson, sentenceOf } from "../ask.ts";
import { confirmed } from "../shell/dialog.tsx";
import { Icon } from "../shell/icon.tsx";
import { isStale } from "../silence.ts";
import { clockTime, durationInWords } from "../words.ts";
import { drills, frameSpan, seek, source, trace } from "./playback.ts";

const KINDS: Record<DrillKind, { verb: string; says: string }> = {
  kill: { verb: "Kill", says: "The process ends at once, without a word, and is started again later." },
  freeze: { verb: "Freeze", says: "The process stands still for a while: neither alive nor dead for the others." },
  restart: { verb: "Restart", says: "The process is stopped, and starts again." },
  fill: { verb: "Fill the disk", says: "The worker believes that its disk is full." },
  corrupt: { verb: "Corrupt a copy", says: "One byte of one copy on this worker is changed on the disk." },
  cut: { verb: "Cut a link", says: "Two nodes no longer hear each other." },
};
const EVERY_MS = 2000;

/** What the gateway says of drills, asked again and again while the cluster is watched live. */
function useDrillList(isLive: boolean): Signal<DrillList | null> {
  const list = useSignal<DrillList | null>(null);
  useEffect(() => {
    if (!isLive) return;
    let isGone = false;
    const load = async (): Promise<void> => {
      try {
        const answer = await askJson<DrillList>("/console/api/drills");
        if (isGone) return;
        list.value = answer;
        drills.value = answer.drills;
      } catch (error) {
        if (!isGone) list.value = { allowed: false, reason: sentenceOf(error), nodes: [], drills: drills.peek() };
      }
    };
    void load();
    const timer = setInterval(load, EVERY_MS);
    return () => {
      isGone = true;
      clearInterval(timer);
    };
  }, [isLive]);
  return list;
}

export function DrillsPane() {
  const isLive = source.value.kind === "live";
  const list = useDrillList(isLive);
  if (!isLive) return <p class="empty small">This is a recording: nothing can be broken here.</p>;
  const answer = list.value;
  if (!answer) return null;
  return (
    <div class="drills">
      {answer.allowed ? (
        <DrillForm nodes={answer.nodes} />
      ) : (
        <p class="empty small">Drills are not allowed here. {answer.reason}</p>
      )}
      <ol>
        {drills.value.map((drill) => (
          <DrillCard key={drill.id} drill={drill} />
        ))}
      </ol>
    </div>
  );
}

/** Asks once more, then starts the drill. */
async function start(kind: DrillKind, node: string, peer: string | null): Promise<void> {
  const { verb, says } = KINDS[kind];
  const yes = await confirmed({
    title: `${verb}: ${node}${peer === null ? "" : ` from ${peer}`}?`,
    body: `${says} This is a real fault in this running cluster.`,
    verb,
    isDangerous: true,
  });
  if (!yes) return;
  try {
    const request = { kind, node, ...(peer === null ? {} : { peer }) };
    const drill: Drill = await (await postJson("/console/api/drills", request)).json();
    drills.value = [drill, ...drills.peek().filter(({ id }) => id !== drill.id)];
    announce(`The drill has begun: ${verb.toLowerCase()} ${drill.node}.`);
  } catch (error) {
    announce(sentenceOf(error), "problem");
  }
}

function DrillForm({ nodes }: Pick<DrillList, "nodes">) {
  const kind = useSignal<DrillKind>("kill");
  const node = useSignal("leader");
  const peer = useSignal("");
  const isCut = kind.value === "cut";
  return (
    <form
      class="drill-form"
      onSubmit={(event) => {
        event.preventDefault();
        void start(kind.peek(), node.peek(), isCut ? peer.peek() : null);
      }}
    >
      <Choice label="What" chosen={kind as Signal<string>}>
        {Object.entries(KINDS).map(([name, { verb }]) => (
          <option key={name} value={name}>
            {verb}
          </option>
        ))}
      </Choice>
      <Choice label="Whom" chosen={node}>
        <option value="leader">the leader</option>
        {nodes.map(({ id, running, frozen }) => (
          <option key={id} value={id}>
            {id}
            {running ? (frozen ? " (frozen)" : "") : " (not running)"}
          </option>
        ))}
      </Choice>
      {isCut && (
        <Choice label="From" chosen={peer}>
          <option value="">choose</option>
          {nodes.flatMap(({ id }) => (id === node.value ? [] : [<option key={id}>{id}</option>]))}
        </Choice>
      )}
      <button type="submit" class="button danger" disabled={isStale.value || (isCut && peer.value === "")}>
        Start the drill
      </button>
      <p class="quiet">{KINDS[kind.value].says}</p>
    </form>
  );
}

interface ChoiceProps {
  label: string;
  chosen: Signal<string>;
  children: ComponentChildren;
}

function Choice({ label, chosen, children }: ChoiceProps) {
  return (
    <label class="field">
      <span>{label}</span>
      <select
        value={chosen.value}
        onChange={(event) => {
          chosen.value = event.currentTarget.value;
        }}
      >
        {children}
      </select>
    </label>
  );
}

const RESULT = { running: "under way", passed: "passed", failed: "failed" } as const;
const RESULT_TONE = { running: "passive", passed: "good", failed: "down" } as const;

function DrillCard({ drill }: { drill: Drill }) {
  const { kind, node, peer, state, from, to, budgets, steps } = drill;
  return (
    <li class={`drill ${RESULT_TONE[state]}`} data-drill={state}>
      <header>
        <h3>
          <button
            type="button"
            class="link-button"
            onClick={() => {
              const held = trace();
              frameSpan(held.positionAt(from), held.positionAt(to ?? held.timeOf(held.last)));
              seek(held.positionAt(from));
            }}
          >
            {KINDS[kind].verb} {node}
            {peer ? ` from ${peer}` : ""}
          </button>
        </h3>
        <span class={`result ${RESULT_TONE[state]}`}>
          <Icon name={state === "passed" ? "check" : state === "failed" ? "cross" : "refresh"} /> {RESULT[state]}
        </span>
      </header>
      <p class="quiet">{clockTime(from, false)}</p>
      <ul class="budgets">
        {budgets.map(({ name, label, limitMs, measuredMs, ok, detail }) => (
          <li key={name} class={ok === null ? "" : ok ? "good" : "down"}>
            <Icon name={ok === null ? "question" : ok ? "check" : "cross"} />
            <span>
              {label}
              {measuredMs !== null ? (
                <>
                  : <b>{durationInWords(measuredMs)}</b>
                </>
              ) : null}
              {limitMs !== null && <span class="quiet"> of {durationInWords(limitMs)}</span>}
              {detail && <span class="quiet"> {detail}</span>}
            </span>
          </li>
        ))}
      </ul>
      {steps.length > 0 && (
        <details>
          <summary>Step by step</summary>
          <ol class="drill-steps">
            {steps.map(({ at, text }) => (
              <li key={`${at} ${text}`}>
                <span class="mono quiet">{clockTime(at)}</span> {text}
              </li>
            ))}
          </ol>
        </details>
      )}
    </li>
  );
}
