/** A machine drawn by its layout, in a room that can be zoomed and scrolled. */
import { useSignal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import type { Chart, Layout } from "../../api.ts";
import { Icon } from "../shell/icon.tsx";
import { wantsStillness } from "../theme.ts";
import { Overview } from "./chart-overview.tsx";
import { useRunners } from "./chart-runners.ts";
import { Arrows, StateBox } from "./chart-shapes.tsx";
import { newestState, type Shown, Tokens } from "./chart-tokens.tsx";

const MARGIN = 16;

interface DrawingProps extends Shown {
  chart: Chart;
  layout: Layout;
  onLook: (state: string | null) => void;
}

/** Size of the part of an element that is seen, kept as it changes. */
function useRoom(frame: { current: HTMLElement | null }) {
  const room = useSignal({ width: 800, height: 600 });
  useEffect(() => {
    const element = frame.current as HTMLElement;
    const observer = new ResizeObserver(() => {
      room.value = { width: element.clientWidth, height: element.clientHeight };
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  return room;
}

export function Drawing(props: DrawingProps) {
  const { chart, layout, tokens, lit } = props;
  const frame = useRef<HTMLElement>(null);
  const scale = useSignal<number | null>(null);
  const room = useRoom(frame);
  const scrolled = useSignal({ left: 0, top: 0 });
  const size = { width: layout.width + 2 * MARGIN, height: layout.height + 2 * MARGIN };
  const fit = Math.min(room.value.width / size.width, room.value.height / size.height);
  const shown = scale.value ?? Math.min(1.35, Math.max(fit, 0.7));
  const centre = (x: number, y: number, behavior: ScrollBehavior): void =>
    frame.current?.scrollTo({
      left: (x + MARGIN) * shown - room.value.width / 2,
      top: (y + MARGIN) * shown - room.value.height / 2,
      behavior,
    });
  const isWhole = fit >= shown - 0.01;
  const follows = newestState(tokens);
  useEffect(() => {
    const box = follows === null || isWhole ? undefined : layout.states[follows];
    if (!box) return;
    const isWide = box.width * shown > room.value.width;
    const isHigh = box.height * shown > room.value.height;
    const x = isWide ? box.x + room.value.width / 2 / shown - MARGIN : box.x + box.width / 2;
    const y = isHigh ? box.y + room.value.height / 2 / shown - MARGIN : box.y + box.height / 2;
    centre(x, y, wantsStillness() ? "auto" : "smooth");
  }, [follows, chart.machine, isWhole]);
  return (
    <div class="chart-room">
      <section
        class="chart-scroll"
        ref={frame}
        // biome-ignore lint/a11y/noNoninteractiveTabindex: what scrolls must be reachable by keys
        tabIndex={0}
        aria-label={`Drawing of the ${chart.machine} machine`}
        onScroll={({ currentTarget: { scrollLeft: left, scrollTop: top } }) => {
          scrolled.value = { left, top };
        }}
      >
        <Picture {...props} frame={frame} size={size} scale={shown} />
      </section>
      {!isWhole && (
        <Overview
          {...{ chart, layout, lit }}
          x={scrolled.value.left / shown - MARGIN}
          y={scrolled.value.top / shown - MARGIN}
          width={room.value.width / shown}
          height={room.value.height / shown}
          onGo={(x, y) => centre(x, y, "auto")}
        />
      )}
      <ZoomButtons scale={scale} shown={shown} fit={fit} />
    </div>
  );
}

interface PictureProps extends DrawingProps {
  frame: { current: HTMLElement | null };
  size: { width: number; height: number };
  scale: number;
}

function Picture({ chart, layout, tokens, lit, onLook, frame, size: { width, height }, scale }: PictureProps) {
  const runners = useRef<SVGGElement>(null);
  useRunners(chart.machine, frame, runners);
  // Everything but tokens and light stays as it is, thirty times a second.
  const backdrop = useMemo(() => <Arrows chart={chart} layout={layout} />, [chart, layout]);
  return (
    <svg
      class="chart"
      width={width * scale}
      height={height * scale}
      viewBox={`${-MARGIN} ${-MARGIN} ${width} ${height}`}
      role="img"
      aria-label={`State machine ${chart.machine}`}
    >
      <title>{chart.machine}</title>
      <defs>
        <marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">
          <path d="M0 0.500 8 4 0 7.500z" class="arrow-head" />
        </marker>
      </defs>
      {chart.states.slice(1).map((state) => (
        <StateBox key={state.id} {...{ chart, state, layout }} tone={lit.get(state.id) ?? null} onLook={onLook} />
      ))}
      {backdrop}
      <g ref={runners} class="runners" />
      {chart.states.slice(1).map(({ id, key }) => {
        const there = tokens.get(id);
        const box = layout.states[id];
        return there && box ? <Tokens key={id} tokens={there} box={box} name={key} /> : null;
      })}
    </svg>
  );
}

interface ZoomProps {
  scale: { value: number | null };
  /** The scale that is shown, whether chosen or not. */
  shown: number;
  fit: number;
}

function ZoomButtons({ scale, shown, fit }: ZoomProps) {
  return (
    <div class="chart-zoom button-group">
      <button type="button" class="icon-button" aria-label="Smaller" onClick={() => (scale.value = shown / 1.2)}>
        −
      </button>
      <button type="button" class="icon-button" aria-label="Larger" onClick={() => (scale.value = shown * 1.2)}>
        +
      </button>
      <button type="button" class="icon-button" aria-label="Fit" onClick={() => (scale.value = fit)}>
        <Icon name="fit" />
      </button>
    </div>
  );
}
