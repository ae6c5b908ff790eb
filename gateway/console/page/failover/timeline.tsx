/** The timeline as one works with it: drag to scrub, wheel to zoom, arrows to step. */
import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { theme } from "../theme.ts";
import { clockTime } from "../words.ts";
import { causesOf } from "./causes.ts";
import {
  cursor,
  instant,
  isPlaying,
  liveEdge,
  nodeIds,
  nodes,
  range,
  reports,
  seek,
  selected,
  span,
  trace,
  version,
  visible,
} from "./playback.ts";
import { AXIS, laneHeightFor, type Palette, TimelineDrawing } from "./timeline-drawing.ts";
import type { Tone } from "./tones.ts";
import { Transport } from "./transport.tsx";

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

/** Left of the lanes: the names of the nodes. */
const gutterOf = (width: number): number => (width < 560 ? 64 : 92);

/** @returns the position on the timeline below a pointer */
function positionOf(canvas: HTMLCanvasElement, { clientX }: { clientX: number }): number {
  const box = canvas.getBoundingClientRect();
  const left = gutterOf(box.width);
  const { from, to } = visible.peek();
  return from + ((clientX - box.left - left) / (box.width - left)) * (to - from);
}

function onWheel(event: WheelEvent): void {
  event.preventDefault();
  const at = (): number => positionOf(event.currentTarget as HTMLCanvasElement, event);
  if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) pan((event.deltaX || event.deltaY) / 1000);
  else zoom(1.0016 ** event.deltaY, range.peek() === null ? liveEdge.peek() : at());
}

interface CanvasRef {
  current: HTMLCanvasElement | null;
}

/** Width of the canvas and pixels per CSS pixel, kept as they change; and the wheel, which must not scroll the page. */
function useCanvas(canvas: CanvasRef) {
  const size = useSignal({ width: 0, ratio: 1 });
  useEffect(() => {
    const element = canvas.current as HTMLCanvasElement;
    const observer = new ResizeObserver(() => {
      size.value = { width: element.clientWidth, ratio: devicePixelRatio };
    });
    observer.observe(element);
    element.addEventListener("wheel", onWheel, { passive: false });
    return () => {
      observer.disconnect();
      element.removeEventListener("wheel", onWheel);
    };
  }, []);
  return size;
}

interface CanvasSize {
  width: number;
  height: number;
  ratio: number;
}

/** @returns the context, cleared and in CSS pixels */
function contextOf(canvas: HTMLCanvasElement, { width, height, ratio }: CanvasSize): CanvasRenderingContext2D {
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext("2d") as CanvasRenderingContext2D;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  return context;
}

/** Draws whenever something that is seen has changed. */
function useDrawing(canvas: CanvasRef, size: CanvasSize, laneHeight: number): void {
  const palette = useRef<{ theme: string; palette: Palette } | null>(null);
  const lanes = nodeIds.value;
  const { width, height } = size;
  useEffect(() => {
    if (!canvas.current || width === 0) return;
    if (palette.current?.theme !== theme.value) palette.current = { theme: theme.value, palette: readPalette() };
    const record = selected.value === null ? null : (trace().get(selected.value) ?? null);
    const { from, to } = visible.value;
    new TimelineDrawing(contextOf(canvas.current, size), trace(), palette.current.palette, {
      width,
      height,
      gutter: gutterOf(width),
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
    width,
    size.ratio,
    height,
    lanes,
    visible.value,
    instant.value,
    version.value,
    selected.value,
    theme.value,
    nodes.value,
    reports.value,
  ]);
}

export function Timeline() {
  const canvas = useRef<HTMLCanvasElement>(null);
  const size = useCanvas(canvas);
  const lanes = nodeIds.value;
  const laneHeight = laneHeightFor(lanes.length);
  const height = AXIS + Math.max(1, lanes.length) * laneHeight + 2;
  useDrawing(canvas, { ...size.value, height }, laneHeight);
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
            seek(positionOf(event.currentTarget, event));
          }}
          onPointerMove={(event) => {
            const { currentTarget, pointerId } = event;
            if (event.buttons === 1 && currentTarget.hasPointerCapture(pointerId))
              seek(positionOf(currentTarget, event));
          }}
        />
      </div>
    </section>
  );
}
