/** One machine, drawn from its own definition; lit where its actors are, with a token for each of them. */
import { useSignal } from "@preact/signals";
import { useEffect, useMemo, useRef } from "preact/hooks";
import type { ActorState, Box, Chart, ChartEdge, ChartState, Layout, StepRecord } from "../../api.ts";
import { idOf } from "../../order.ts";
import { Icon } from "../shell/icon.tsx";
import { wantsStillness } from "../theme.ts";
import { edgeInWords, linesOf, statesOfPart, tokenStates } from "./chart-text.ts";
import { shortName } from "./node-state.ts";
import { goTo, instant, onPassed, trace, version } from "./playback.ts";
import { type Tone, toneOf } from "./tones.ts";
import { inNaturalOrder } from "./trace.ts";

export interface Token {
  key: string;
  label: string;
  title: string;
  tone: Tone;
  step: StepRecord | ActorState;
  isOver: boolean;
}

/** How a state is lit: by the tone of those in it, or plainly if they differ. */
type Light = Tone | "mixed";

const MARGIN = 16;
const MOST_TOKENS = 5;

/** The actors of a machine at the shown instant, by the state that they sit in. */
function tokensOf(machine: string): { tokens: Map<string, Token[]>; lit: Map<string, Light>; count: number } {
  const tokens = new Map<string, Token[]>();
  const lit = new Map<string, Light>();
  const actors = trace()
    .actorsAt(instant.value)
    .filter(({ track }) => track.m === machine)
    .sort((a, b) => inNaturalOrder(a.track.s, b.track.s));
  for (const { track, step, isOver } of actors) {
    const tone = toneOf(machine, step.v);
    const who = track.s === track.n || machine === "steward" ? track.n : track.s;
    const token = {
      key: track.key,
      label: shortName(who),
      title: `${who}${who === track.n ? "" : ` on ${track.n}`}: ${step.v.replaceAll("|", ", ")}`,
      tone,
      step,
      isOver,
    };
    for (const part of step.v.split("|")) {
      const light = toneOf(machine, part);
      for (const id of statesOfPart(machine, part)) lit.set(id, (lit.get(id) ?? light) === light ? light : "mixed");
    }
    for (const id of tokenStates(machine, step.v)) tokens.set(id, [...(tokens.get(id) ?? []), token]);
  }
  return { tokens, lit, count: actors.length };
}

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

interface DrawingProps {
  chart: Chart;
  layout: Layout;
  tokens: Map<string, Token[]>;
  lit: Map<string, Light>;
  onLook: (state: string | null) => void;
}

function Drawing({ chart, layout, tokens, lit, onLook }: DrawingProps) {
  const frame = useRef<HTMLElement>(null);
  const runners = useRef<SVGGElement>(null);
  const scale = useSignal<number | null>(null);
  const room = useSignal({ width: 800, height: 600 });
  const width = layout.width + 2 * MARGIN;
  const height = layout.height + 2 * MARGIN;
  useEffect(() => {
    const element = frame.current as HTMLElement;
    const observer = new ResizeObserver(() => {
      room.value = { width: element.clientWidth, height: element.clientHeight };
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  useRunners(chart.machine, frame, runners);
  const fit = Math.min(room.value.width / width, room.value.height / height);
  const shown = scale.value ?? Math.min(1.35, Math.max(fit, 0.7));
  // Everything but tokens and light stays as it is, thirty times a second.
  const backdrop = useMemo(() => <Arrows chart={chart} layout={layout} />, [chart, layout]);
  const scrolled = useSignal({ left: 0, top: 0 });
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
        <svg
          class="chart"
          width={width * shown}
          height={height * shown}
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
    </div>
  );
}

/** The state that was entered last: where one looks. */
function newestState(tokens: Map<string, Token[]>): string | null {
  let newest: { id: string; h: string } | null = null;
  for (const [id, there] of tokens)
    for (const { step } of there) if (newest === null || step.h > newest.h) newest = { id, h: step.h };
  return newest?.id ?? null;
}

const OVERVIEW = { width: 168, height: 110 };

interface OverviewProps extends Pick<DrawingProps, "chart" | "layout" | "lit"> {
  x: number;
  y: number;
  width: number;
  height: number;
  onGo: (x: number, y: number) => void;
}

/** The whole machine, small, for those that are larger than the room: where it is lit, and what part is seen. */
function Overview({ chart, layout, lit, x, y, width, height, onGo }: OverviewProps) {
  const scale = Math.min(OVERVIEW.width / layout.width, OVERVIEW.height / layout.height);
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

interface BoxProps {
  chart: Chart;
  state: ChartState;
  layout: Layout;
  tone: Light | null;
  onLook: (state: string | null) => void;
}

function StateBox({ chart, state, layout, tone, onLook }: BoxProps) {
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

function Arrows({ chart, layout }: { chart: Chart; layout: Layout }) {
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

const TOKEN_STEP = 25;
const NAME_CHAR = 7.3;

/** On the upper edge, to the right, never over the state's name. */
function Tokens({ tokens, box, name }: { tokens: Token[]; box: Box; name: string }) {
  const shown = tokens.slice(0, tokens.length > MOST_TOKENS ? MOST_TOKENS - 1 : MOST_TOKENS);
  const rest = tokens.length - shown.length;
  const width = (shown.length + (rest > 0 ? 1.2 : 0)) * TOKEN_STEP;
  const left = Math.max(box.x + box.width - width, box.x + 14 + name.length * NAME_CHAR);
  return (
    <g class="tokens">
      {rest > 0 && (
        <g class="token more" transform={`translate(${left + (shown.length + 0.6) * TOKEN_STEP} ${box.y})`}>
          <title>{tokens.map(({ title }) => title).join("\n")}</title>
          <rect x="-15" y="-11" width="30" height="22" rx="11" />
          <text text-anchor="middle" dominant-baseline="central">
            +{rest}
          </text>
        </g>
      )}
      {shown.map((token, n) => {
        const record = trace().get(idOf(token.step));
        return (
          // biome-ignore lint/a11y/noStaticElementInteractions: the list of nodes and of events lead there by keys
          <g
            key={token.key}
            class={`token ${token.tone} ${token.isOver ? "over" : ""}`}
            transform={`translate(${left + (n + 0.5) * TOKEN_STEP} ${box.y})`}
            data-token={token.label}
            onClick={() => record && goTo(record)}
          >
            <title>{token.title}</title>
            <circle r="12" />
            <text text-anchor="middle" dominant-baseline="central">
              {token.label}
            </text>
          </g>
        );
      })}
    </g>
  );
}

/** Without a layout the machine is still drawn: its states inside each other. */
function Outline({
  chart,
  tokens,
  lit,
  parent,
}: Pick<DrawingProps, "chart" | "tokens" | "lit"> & { parent: string | null }) {
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

const RUN_MS = 650;
const GLOW_MS = 1500;
const MOST_RUNNERS = 16;
/** The same arrow is run along no more often than the eye can tell. */
const AGAIN_AFTER_MS = 220;

/** What just happened runs along its arrow; what repeats itself, a heartbeat, only makes it glow a little. */
function useRunners(
  machine: string,
  frame: { current: HTMLElement | null },
  layer: { current: SVGGElement | null },
): void {
  useEffect(() => {
    const lastRun = new Map<string, number>();
    let running = 0;
    const run = (group: Element, tone: Tone): void => {
      const path = group.querySelector("path");
      const parent = layer.current;
      if (!path || !parent || running >= MOST_RUNNERS) return;
      running++;
      const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
      dot.setAttribute("r", "5");
      dot.setAttribute("class", `runner ${tone}`);
      parent.append(dot);
      const length = path.getTotalLength();
      const startedAt = performance.now();
      const move = (now: number): void => {
        const share = Math.min(1, Math.max(0, (now - startedAt) / RUN_MS));
        const { x, y } = path.getPointAtLength(length * (1 - (1 - share) ** 2));
        dot.setAttribute("cx", String(x));
        dot.setAttribute("cy", String(y));
        if (share < 1 && dot.isConnected) requestAnimationFrame(move);
        else {
          dot.remove();
          running--;
        }
      };
      requestAnimationFrame(move);
    };
    return onPassed((records) => {
      const now = performance.now();
      for (const record of records) {
        if (record.m !== machine) continue;
        for (const id of record.x ?? []) {
          if (now - (lastRun.get(id) ?? Number.NEGATIVE_INFINITY) < AGAIN_AFTER_MS) continue;
          lastRun.set(id, now);
          const escaped = CSS.escape(id);
          const inner = frame.current?.querySelector(`[data-inner="${escaped}"]`);
          inner?.animate([{ opacity: 1, fontWeight: 700 }, { opacity: 1 }], { duration: GLOW_MS });
          const group = frame.current?.querySelector(`[data-edge="${escaped}"]`);
          if (!group) continue;
          const isMove = record.f !== undefined;
          group.classList.remove("fired", "beat");
          group.getBoundingClientRect();
          group.classList.add(isMove ? "fired" : "beat");
          setTimeout(() => group.classList.remove("fired", "beat"), GLOW_MS);
          if (isMove && !wantsStillness()) run(group, toneOf(machine, record.v));
        }
      }
    });
  }, [machine]);
}
