/** The shapes of a drawn machine: boxes for states, arrows for edges. */
import type { Chart, ChartEdge, ChartState, Layout } from "../../api.ts";
import { edgeInWords, linesOf } from "./chart-text.ts";
import type { Light } from "./chart-tokens.tsx";

interface BoxProps {
  chart: Chart;
  state: ChartState;
  layout: Layout;
  tone: Light | null;
  onLook: (state: string | null) => void;
}

export function StateBox({ chart, state, layout, tone, onLook }: BoxProps) {
  const box = layout.states[state.id];
  if (!box) return null;
  const lines = linesOf(chart, state);
  const isRegion = chart.states.find(({ id }) => id === state.parent)?.type === "parallel";
  return (
    <g
      class={`state ${state.type} ${isRegion ? "region" : ""} ${tone ? `lit ${tone}` : ""}`}
      data-state={state.id}
      data-active={tone !== null}
      onPointerEnter={() => onLook(state.id)}
      onPointerLeave={() => onLook(null)}
    >
      <title>{[state.id, state.description].filter(Boolean).join("\n")}</title>
      <rect x={box.x} y={box.y} width={box.width} height={box.height} rx="9" />
      {state.type === "final" && (
        <rect x={box.x + 3.5} y={box.y + 3.5} width={box.width - 7} height={box.height - 7} rx="6" class="inner-ring" />
      )}
      <text x={box.x + 11} y={box.y + 18} class="state-name">
        {state.key}
      </text>
      {lines.map(({ text, kind, edge }, n) => (
        <text
          key={edge ?? text}
          x={box.x + 11}
          y={box.y + 36 + n * 14}
          class={`state-line ${kind}`}
          data-inner={edge ?? undefined}
        >
          {text}
        </text>
      ))}
    </g>
  );
}

export function Arrows({ chart, layout }: { chart: Chart; layout: Layout }) {
  return (
    <g>
      {layout.anyState && (
        <g class="any-state">
          <rect {...layout.anyState} rx={layout.anyState.height / 2} />
          <text
            x={layout.anyState.x + layout.anyState.width / 2}
            y={layout.anyState.y + layout.anyState.height / 2}
            text-anchor="middle"
            dominant-baseline="central"
          >
            any state
          </text>
        </g>
      )}
      {Object.entries(layout.initials).map(([id, { x, y, points }]) => (
        <g key={id} class="initial">
          <circle cx={x} cy={y} r="4" />
          <path d={pathOf(points)} marker-end="url(#arrow)" />
        </g>
      ))}
      {chart.edges.map((edge) => (
        <Arrow key={edge.id} edge={edge} layout={layout} />
      ))}
    </g>
  );
}

function Arrow({ edge, layout }: { edge: ChartEdge; layout: Layout }) {
  const drawn = layout.edges[edge.id];
  if (!drawn) return null;
  const { points, label } = drawn;
  return (
    <g class={`edge ${edge.kind}`} data-edge={edge.id}>
      <title>{[edgeInWords(edge), edge.description].filter(Boolean).join("\n")}</title>
      <path d={pathOf(points)} marker-end="url(#arrow)" />
      {label && (
        <>
          <rect x={label.x} y={label.y} width={label.width} height={label.height} rx={Math.min(8, label.height / 2)} />
          {label.lines.map((text, n) => (
            <text
              key={text}
              x={label.x + label.width / 2}
              y={label.y + (label.height / label.lines.length) * (n + 0.5)}
              text-anchor="middle"
              dominant-baseline="central"
            >
              {text}
            </text>
          ))}
        </>
      )}
    </g>
  );
}

const CORNER = 7;

/** Right angles with rounded corners. */
function pathOf(points: readonly (readonly [number, number])[]): string {
  const [first, ...rest] = points;
  if (!first) return "";
  let path = `M${first[0]} ${first[1]}`;
  let from = first;
  for (const [n, to] of rest.entries()) {
    const next = rest[n + 1];
    const into = Math.hypot(to[0] - from[0], to[1] - from[1]);
    const out = next ? Math.hypot(next[0] - to[0], next[1] - to[1]) : 0;
    const cut = next ? Math.min(CORNER, into / 2, out / 2) : 0;
    if (!next || cut < 1) path += `L${to[0]} ${to[1]}`;
    else {
      const before = [to[0] - ((to[0] - from[0]) / into) * cut, to[1] - ((to[1] - from[1]) / into) * cut];
      const after = [to[0] + ((next[0] - to[0]) / out) * cut, to[1] + ((next[1] - to[1]) / out) * cut];
      path += `L${before[0]} ${before[1]}Q${to[0]} ${to[1]} ${after[0]} ${after[1]}`;
    }
    from = to;
  }
  return path;
}
