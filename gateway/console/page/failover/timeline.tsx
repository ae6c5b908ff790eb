/** The timeline as one works with it: drag to scrub, wheel to zoom, arrows to step, space to play. */
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { Icon } from "../shell/icon.tsx";
import { theme } from "../theme.ts";
import { clockTime, durationInWords } from "../words.ts";
import { causesOf } from "./causes.ts";
import { streamNow } from "./live.ts";
import {
  cursor,
  goLive,
  instant,
  isPlaying,
  liveEdge,
  nodeIds,
  nodes,
  range,
  reports,
  SPEEDS,
  seek,
  selected,
  source,
  span,
  speed,
  step,
  togglePlay,
  trace,
  version,
  visible,
} from "./playback.ts";
import { AXIS, laneHeightFor, type Palette, TimelineDrawing } from "./timeline-drawing.ts";
import type { Tone } from "./tones.ts";

const SPANS = [
  { label: "10 s", ms: 10_000 },
  { label: "1 min", ms: 60_000 },
  { label: "10 min", ms: 600_000 },
];
const NARROWEST_MS = 20;
const WIDEST_MS = 86_400_000;

function readPalette(): Palette {
  const style = getComputedStyle(document.documentElement);
  const color = (name: string): string => style.getPropertyValue(`--${name}`).trim();
  const tones = Object.fromEntries(
    (["passive", "good", "wary", "trouble", "down", "unknown"] satisfies Tone[]).map((tone) => [tone, color(tone)]),
  ) as Record<Tone, string>;
  return {
    text: color("text"),
    quiet: color("quiet"),
    line: color("line"),
    surface: color("surface"),
    lane: color("sunken"),
    accent: color("accent"),
    onTone: color("on-tone"),
    font: getComputedStyle(document.body).fontFamily,
    tones,
  };
}

export function zoom(factor: number, at = instant.peek()): void {
  const { from, to } = visible.peek();
  const width = Math.min(WIDEST_MS, Math.max(NARROWEST_MS, (to - from) * factor));
  const share = (at - from) / (to - from);
  if (range.peek() === null) span.value = width;
  else range.value = { from: at - share * width, to: at + (1 - share) * width };
}

export function pan(byShare: number): void {
  const { from, to } = visible.peek();
  const by = (to - from) * byShare;
  range.value = { from: from + by, to: to + by };
}

export function Timeline() {
  const canvas = useRef<HTMLCanvasElement>(null);
  const size = useSignal({ width: 0, ratio: 1 });
  const pointed = useSignal<string | null>(null);
  const palette = useRef<{ theme: string; palette: Palette } | null>(null);
  const lanes = nodeIds.value;
  const laneHeight = laneHeightFor(lanes.length);
  const height = AXIS + Math.max(1, lanes.length) * laneHeight + 2;
  const gutter = size.value.width < 560 ? 64 : 92;

  useEffect(() => {
    const element = canvas.current as HTMLCanvasElement;
    const observer = new ResizeObserver(() => {
      size.value = { width: element.clientWidth, ratio: devicePixelRatio };
    });
    observer.observe(element);
    const wheel = (event: WheelEvent): void => {
      event.preventDefault();
      if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) pan((event.deltaX || event.deltaY) / 1000);
      else zoom(1.0016 ** event.deltaY, range.peek() === null ? liveEdge.peek() : positionOf(event));
    };
    element.addEventListener("wheel", wheel, { passive: false });
    return () => {
      observer.disconnect();
      element.removeEventListener("wheel", wheel);
    };
  }, []);

  const positionOf = (event: { clientX: number }): number => {
    const element = canvas.current as HTMLCanvasElement;
    const box = element.getBoundingClientRect();
    const left = box.width < 560 ? 64 : 92;
    const { from, to } = visible.peek();
    return from + ((event.clientX - box.left - left) / (box.width - left)) * (to - from);
  };

  useEffect(() => {
    const element = canvas.current;
    const { width, ratio } = size.value;
    if (!element || width === 0) return;
    if (element.width !== Math.round(width * ratio) || element.height !== Math.round(height * ratio)) {
      element.width = Math.round(width * ratio);
      element.height = Math.round(height * ratio);
    }
    if (palette.current?.theme !== theme.value) palette.current = { theme: theme.value, palette: readPalette() };
    const context = element.getContext("2d") as CanvasRenderingContext2D;
    context.setTransform(ratio, 0, 0, ratio, 0, 0);
    const record = selected.value === null ? null : (trace().get(selected.value) ?? null);
    const { from, to } = visible.value;
    new TimelineDrawing(context, trace(), palette.current.palette, {
      width,
      height,
      gutter,
      laneHeight,
      lanes,
      from,
      to,
      instant: instant.value,
      cursor: cursor.value,
      edge: liveEdge.value,
      selected: record,
      causes: record ? causesOf(record) : [],
      reports: reports.value,
      nodes: nodes.value,
    }).draw();
  }, [
    size.value,
    height,
    gutter,
    lanes,
    visible.value,
    instant.value,
    version.value,
    selected.value,
    theme.value,
    nodes.value,
    reports.value,
  ]);

  const at = trace().base === null ? "--:--:--" : clockTime(trace().timeOf(instant.value));
  return (
    <section class="panel timeline" aria-label="Timeline">
      <Transport at={at} />
      <div class="timeline-scroll">
        <canvas
          ref={canvas}
          class="timeline-canvas"
          style={{ height: `${height}px` }}
          tabIndex={0}
          role="slider"
          aria-label="Instant shown. Arrows step by event, space plays, plus and minus zoom, L goes back to live."
          aria-valuemin={0}
          aria-valuemax={Math.round(liveEdge.value)}
          aria-valuenow={Math.round(instant.value)}
          aria-valuetext={cursor.value === null ? `live, ${at}` : at}
          data-lanes={lanes.length}
          onPointerDown={(event) => {
            if (event.button !== 0) return;
            event.currentTarget.setPointerCapture(event.pointerId);
            isPlaying.value = false;
            seek(positionOf(event));
          }}
          onPointerMove={(event) => {
            pointed.value = clockTime(trace().timeOf(positionOf(event)));
            if (event.buttons === 1 && event.currentTarget.hasPointerCapture(event.pointerId)) seek(positionOf(event));
          }}
          onPointerLeave={() => {
            pointed.value = null;
          }}
        />
      </div>
    </section>
  );
}

function Transport({ at }: { at: string }) {
  const isLive = cursor.value === null && source.value.kind === "live";
  const behind = liveEdge.value - instant.value;
  return (
    <div class="transport">
      <div class="button-group">
        <button type="button" class="icon-button" aria-label="Step back by one event" onClick={() => step(-1)}>
          <Icon name="stepBack" />
        </button>
        <button
          type="button"
          class="icon-button strong"
          aria-label={isPlaying.value ? "Pause" : "Play"}
          onClick={togglePlay}
        >
          <Icon name={isPlaying.value ? "pause" : "play"} />
        </button>
        <button type="button" class="icon-button" aria-label="Step on by one event" onClick={() => step(1)}>
          <Icon name="stepForward" />
        </button>
      </div>
      <label class="speed">
        <span class="visually-hidden">Speed</span>
        <select
          value={String(speed.value)}
          onChange={(event) => {
            speed.value = Number(event.currentTarget.value);
          }}
        >
          {SPEEDS.map((value) => (
            <option key={value} value={String(value)}>
              {value}×
            </option>
          ))}
        </select>
      </label>
      <output class="instant mono">{at}</output>
      {source.value.kind === "live" &&
        (isLive ? (
          <span class={`live-pill ${streamNow.value.isLive ? "" : "silent"}`} role="status">
            <Icon name={streamNow.value.isLive ? "live" : "warn"} /> {streamNow.value.text}
          </span>
        ) : (
          <button type="button" class="button back-to-live" onClick={goLive}>
            <Icon name="live" /> {durationInWords(behind)} ago, back to live
          </button>
        ))}
      <span class="spacer" />
      <fieldset class="button-group" aria-label="Span shown">
        {SPANS.map(({ label, ms }) => (
          <button
            key={ms}
            type="button"
            class="button small"
            aria-pressed={range.value === null && span.value === ms}
            onClick={() => {
              span.value = ms;
              range.value =
                cursor.peek() === null ? null : { from: instant.peek() - ms * 0.7, to: instant.peek() + ms * 0.3 };
            }}
          >
            {label}
          </button>
        ))}
        <button
          type="button"
          class="icon-button"
          aria-label="Show everything"
          onClick={() => {
            const width = Math.max(1000, liveEdge.peek() - trace().first);
            range.value = { from: trace().first - width * 0.01, to: liveEdge.peek() + width * 0.01 };
          }}
        >
          <Icon name="fit" />
        </button>
      </fieldset>
    </div>
  );
}
