/** The whole machine, small, for one that is larger than its room. */
import type { Chart, Layout } from "../../api.ts";
import type { Shown } from "./chart-tokens.tsx";

const SIZE = { width: 168, height: 110 };

interface OverviewProps {
  chart: Chart;
  layout: Layout;
  lit: Shown["lit"];
  /** The part that is seen. */
  x: number;
  y: number;
  width: number;
  height: number;
  onGo: (x: number, y: number) => void;
}

/** Where the machine is lit, and which part is seen. */
export function Overview({ chart, layout, lit, x, y, width, height, onGo }: OverviewProps) {
  const scale = Math.min(SIZE.width / layout.width, SIZE.height / layout.height);
  const go = (event: PointerEvent): void => {
    const box = (event.currentTarget as Element).getBoundingClientRect();
    onGo((event.clientX - box.left) / scale, (event.clientY - box.top) / scale);
  };
  return (
    <svg
      class="overview"
      width={layout.width * scale}
      height={layout.height * scale}
      viewBox={`0 0 ${layout.width} ${layout.height}`}
      aria-hidden="true"
      onPointerDown={go}
      onPointerMove={(event) => event.buttons === 1 && go(event)}
    >
      {chart.states.slice(1).map(({ id, type }) => {
        const box = layout.states[id];
        const isLeaf = type !== "compound" && type !== "parallel";
        return box && <rect key={id} {...box} rx="20" class={isLeaf ? `leaf ${lit.get(id) ?? ""}` : ""} />;
      })}
      <rect class="window" {...{ x, y, width, height }} rx="10" />
    </svg>
  );
}
