/** Every node at the shown instant: what it is, since when, and what others think of it. */

import { recordId } from "../../../../actors/rules/record-id.ts";
import { cluster } from "../cluster/cluster-store.ts";
import { StateDot } from "../shell/state-dot.tsx";
import { bytesInWords, durationInWords } from "../words.ts";
import { beliefOf, nodeNow, speedOf } from "./node-state.ts";
import { cursor, goTo, instant, kindOf, nodeIds, selected, source, trace, version } from "./playback.ts";

const TITLES = { master: "Masters", worker: "Workers", gateway: "Gateways" } as const;

export function NodesPanel() {
  version.value;
  source.value;
  const ids = nodeIds.value;
  return (
    <div class="nodes-panel">
      {(["master", "worker", "gateway"] as const).map((kind) => {
        const members = ids.filter((id) => kindOf(id) === kind);
        return members.length === 0 ? null : (
          <section key={kind} aria-label={TITLES[kind]}>
            <h2>{TITLES[kind]}</h2>
            <ul class={members.length > 12 ? "many" : ""}>
              {members.map((id) => (
                <NodeRow key={id} id={id} />
              ))}
            </ul>
          </section>
        );
      })}
    </div>
  );
}

/** Space is known of the present only. */
const isLive = (): boolean => cursor.value === null && source.value.kind === "live";

function NodeRow({ id }: { id: string }) {
  const { tone, label, since, atLeast, step, reason } = nodeNow(id);
  const belief = beliefOf(id);
  const term = step?.c?.term;
  const record = step && trace().get(recordId(step));
  const speed = speedOf(id);
  const free = isLive() ? cluster.value?.workers.find((worker) => worker.id === id)?.freeBytes : undefined;
  const facts = [
    term === undefined ? "" : `term ${term}`,
    since === null ? "" : `${atLeast ? "≥ " : ""}${durationInWords(Math.max(0, instant.value - since))}`,
    speed > 0 ? `${bytesInWords(speed)}/s` : free === undefined || free === null ? "" : `${bytesInWords(free)} free`,
  ].filter(Boolean);
  const isOddBelief = belief && belief.label !== "live";
  return (
    <li>
      <button
        type="button"
        class={`node-row ${tone}`}
        data-node={id}
        data-tone={tone}
        title={reason || undefined}
        disabled={!record}
        aria-pressed={record ? selected.value === recordId(record) : undefined}
        onClick={() => record && goTo(record)}
      >
        <span class="node-name">{id}</span>
        <StateDot tone={tone} label={label} />
        <span class="quiet node-since">
          {facts.join(" · ")}
          {isOddBelief && (
            <span class={`belief ${belief.tone}`}>
              {" "}
              · {belief.by} says {belief.label}
            </span>
          )}
        </span>
      </button>
    </li>
  );
}
