/** Every node at the shown instant: what it is, since when, and what others think of it. */

import { idOf } from "../../order.ts";
import { StateDot } from "../shell/state-dot.tsx";
import { durationInWords } from "../words.ts";
import { beliefOf, nodeNow } from "./node-state.ts";
import { goTo, instant, kindOf, nodeIds, selected, source, trace, version } from "./playback.ts";

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

function NodeRow({ id }: { id: string }) {
  const { tone, label, since, step, reason } = nodeNow(id);
  const belief = beliefOf(id);
  const term = step?.c?.term;
  const record = step && trace().get(idOf(step));
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
        aria-pressed={record ? selected.value === idOf(record) : undefined}
        onClick={() => record && goTo(record)}
      >
        <span class="node-name">{id}</span>
        <StateDot tone={tone} label={label} />
        <span class="quiet node-since">
          {term === undefined ? "" : `term ${term} · `}
          {since === null ? "" : durationInWords(Math.max(0, instant.value - since))}
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
