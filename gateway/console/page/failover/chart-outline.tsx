/** A machine without a layout: its states inside each other, as a list. */
import type { Chart } from "../../api.ts";
import { edgeInWords } from "./chart-text.ts";
import type { Shown } from "./chart-tokens.tsx";

interface OutlineProps extends Shown {
  chart: Chart;
  parent: string | null;
}

export function Outline({ chart, tokens, lit, parent }: OutlineProps) {
  return (
    <ul class="outline">
      {chart.states
        .filter((state) => state.parent === parent)
        .map((state) => (
          <li
            key={state.id}
            class={lit.has(state.id) ? `lit ${lit.get(state.id)}` : ""}
            data-state={state.id}
            data-active={lit.has(state.id)}
          >
            <b>{state.key}</b> <span class="quiet">{state.description}</span>
            {(tokens.get(state.id) ?? []).map(({ key, label, title, tone }) => (
              <span key={key} class={`outline-token ${tone}`} title={title}>
                {label}
              </span>
            ))}
            <ul class="outline-edges">
              {chart.edges
                .filter(({ source }) => source === state.id)
                .map((edge) => (
                  <li key={edge.id} data-edge={edge.id}>
                    {edgeInWords(edge)} {edge.targets.length > 0 && <b>→ {edge.targets.join(", ")}</b>}
                  </li>
                ))}
            </ul>
            <Outline {...{ chart, tokens, lit }} parent={state.id} />
          </li>
        ))}
    </ul>
  );
}
