/** One machine, drawn from its own definition; lit where its actors are, with a token for each of them. */
import { useSignal } from "@preact/signals";
import type { Chart, Layout } from "../../api.ts";
import { Drawing } from "./chart-drawing.tsx";
import { Outline } from "./chart-outline.tsx";
import { tokensOf } from "./chart-tokens.tsx";
import { version } from "./playback.ts";

export function MachineChart({ chart, layout }: { chart: Chart; layout: Layout | null }) {
  version.value;
  const { tokens, lit, count } = tokensOf(chart.machine);
  const looked = useSignal<string | null>(null);
  const state = chart.states.find(({ id }) => id === looked.value);
  return (
    <div class="machine-chart">
      <p class="chart-note quiet" role="status">
        {state ? (
          <>
            <b>{state.id}</b> {state.description || "No description."}
          </>
        ) : (
          <>
            {chart.description} {count === 0 ? "None runs" : count === 1 ? "One runs" : `${count} run`} at this instant.
          </>
        )}
      </p>
      {layout ? (
        <Drawing {...{ chart, layout, tokens, lit }} onLook={(id) => (looked.value = id)} />
      ) : (
        <section
          class="outline-scroll"
          // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keys
          tabIndex={0}
          aria-label={`States of the ${chart.machine} machine`}
        >
          <Outline {...{ chart, tokens, lit }} parent={chart.machine} />
        </section>
      )}
    </div>
  );
}
