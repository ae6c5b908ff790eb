/** Draws the timeline: a lane per node, what its state was, what the leader thought of it, where no master led. */
import type { NodeStatus, Report, StepRecord } from "../../api.ts";
import { clockTime } from "../words.ts";
import type { Tone } from "./tones.ts";
import { type Change, type Life, type Trace, type Track, upperBound, upperBoundOf } from "./trace.ts";

export const AXIS = 24;
/** Below this span single messages can be told apart. */
const CLOSE_UP_MS = 4000;
const MOST_MESSAGES = 600;
/** Nodes sample their traffic this often, while there is any. */
const SAMPLE_MS = 1000;

export interface Palette {
  text: string;
  quiet: string;
  line: string;
  surface: string;
  lane: string;
  accent: string;
  onTone: string;
  tones: Record<Tone, string>;
  font: string;
}

export interface Picture {
  width: number;
  height: number;
  gutter: number;
  laneHeight: number;
  lanes: string[];
  from: number;
  to: number;
  instant: number;
  /** null: live */
  cursor: number | null;
  edge: number;
  selected: StepRecord | null;
  /** The selected record's causes, nearest first. */
  causes: StepRecord[];
  reports: Report[];
  nodes: NodeStatus[];
}

/** Thirteen nodes are easily read; fifty still fit on a screen. */
export const laneHeightFor = (lanes: number): number => (lanes <= 8 ? 24 : lanes <= 14 ? 20 : lanes <= 24 ? 17 : 13);

const STEPS_MS = [
  1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000, 30_000, 60_000, 300_000, 900_000, 3_600_000,
];

export class TimelineDrawing {
  readonly #context: CanvasRenderingContext2D;
  readonly #trace: Trace;
  readonly #palette: Palette;
  readonly #picture: Picture;

  constructor(context: CanvasRenderingContext2D, trace: Trace, palette: Palette, picture: Picture) {
    this.#context = context;
    this.#trace = trace;
    this.#palette = palette;
    this.#picture = picture;
  }

  draw(): void {
    const { width, height, lanes } = this.#picture;
    const context = this.#context;
    context.clearRect(0, 0, width, height);
    context.textBaseline = "middle";
    this.#axis();
    this.#clipped(() => this.#leaderless());
    const most = this.#mostBytes();
    for (const [n, id] of lanes.entries()) this.#lane(id, this.#top(n), most);
    this.#clipped(() => {
      this.#messages();
      this.#reportMarks();
      this.#notes();
      this.#causeArrows();
    });
    this.#cursor();
  }

  #x(position: number): number {
    const { from, to, width, gutter } = this.#picture;
    return gutter + ((position - from) / (to - from)) * (width - gutter);
  }

  #top(lane: number): number {
    return AXIS + lane * this.#picture.laneHeight;
  }

  #clipped(draw: () => void): void {
    const { width, height, gutter } = this.#picture;
    const context = this.#context;
    context.save();
    context.beginPath();
    context.rect(gutter, 0, width - gutter, height);
    context.clip();
    draw();
    context.restore();
  }

  #axis(): void {
    const { from, to, width, height, gutter } = this.#picture;
    const { quiet, line, font } = this.#palette;
    const context = this.#context;
    const perPixel = (to - from) / Math.max(1, width - gutter);
    const stepMs = STEPS_MS.find((ms) => ms / perPixel >= 90) ?? 7_200_000;
    context.font = `11px ${font}`;
    context.textAlign = "center";
    const first = Math.ceil(this.#trace.timeOf(from) / stepMs) * stepMs;
    for (let ms = first; ms <= this.#trace.timeOf(to); ms += stepMs) {
      const x = Math.round(this.#x(this.#trace.positionAt(ms))) + 0.5;
      if (x < gutter) continue;
      context.fillStyle = line;
      context.fillRect(x, AXIS - 4, 1, height - AXIS + 4);
      context.fillStyle = quiet;
      if (x > gutter + 28 && x < width - 28) context.fillText(clockTime(ms, stepMs < 1000), x, AXIS / 2);
    }
  }

  /** Where no raft actor led, although some master was there to be asked. */
  #leaderless(): void {
    const { from, to, height, edge, lanes } = this.#picture;
    const spans: [number, number][] = [];
    let hasMaster = false;
    for (const id of lanes)
      for (const track of this.#trace.mainTracks.get(id) ?? []) {
        if (track.m !== "raft") continue;
        hasMaster = true;
        for (const [n, change] of track.changes.entries())
          if (change.label.startsWith("leader")) spans.push([change.at, this.#endOf(track, n)]);
      }
    if (!hasMaster) return;
    spans.sort((a, b) => a[0] - b[0]);
    this.#context.fillStyle = this.#palette.tones.down;
    this.#context.globalAlpha = 0.13;
    let led = Math.max(from, this.#trace.first);
    for (const [start, end] of [...spans, [edge, edge] as [number, number]]) {
      if (start > led && led < to)
        this.#context.fillRect(this.#x(led), AXIS, this.#x(Math.min(start, to)) - this.#x(led), height - AXIS);
      led = Math.max(led, end);
    }
    this.#context.globalAlpha = 1;
  }

  #endOf(track: Track, change: number): number {
    const next = track.changes[change + 1];
    if (next) return next.at;
    const last = track.steps.at(-1);
    if (last?.z) return track.at.at(-1) as number;
    return this.#endOfLife(track.n, track.b);
  }

  #endOfLife(node: string, boot: number): number {
    const lives = this.#trace.lives.get(node) ?? [];
    const index = lives.findIndex((life) => life.boot === boot);
    const life = lives[index];
    const end = life ? this.#trace.endOf(node, life) : 0;
    if (life && (index < lives.length - 1 || life.ended)) return end;
    const status = this.#picture.nodes.find(({ id }) => id === node);
    if (status?.reach === "unknown") return Math.max(end, this.#trace.positionAt(status.since));
    return this.#picture.edge;
  }

  #lane(id: string, top: number, mostBytes: number): void {
    const { gutter, laneHeight, width } = this.#picture;
    const { text, lane, font } = this.#palette;
    const context = this.#context;
    const inner = laneHeight - (laneHeight > 18 ? 5 : 3);
    const y = top + (laneHeight - inner) / 2;
    context.fillStyle = text;
    context.font = `${laneHeight > 16 ? 12 : 10}px ${font}`;
    context.textAlign = "left";
    context.fillText(id, 2, top + laneHeight / 2, gutter - 8);
    context.fillStyle = lane;
    context.fillRect(gutter, y, width - gutter, inner);
    this.#clipped(() => {
      const beliefs = this.#trace.beliefs.get(id);
      const strip = beliefs ? Math.max(2, Math.round(inner * 0.24)) : 0;
      const tracks = this.#trace.mainTracks.get(id) ?? [];
      for (const track of tracks) this.#track(track, y, inner - (strip ? strip + 1 : 0), true);
      for (const track of beliefs ?? []) this.#track(track, y + inner - strip, strip, false);
      const lives = this.#trace.lives.get(id) ?? [];
      if (tracks.length === 0) this.#presence(id, lives, y, inner);
      this.#traffic(id, y, inner - (strip ? strip + 1 : 0), mostBytes);
      this.#absences(id, lives, y, inner);
    });
  }

  #track(track: Track, y: number, height: number, isLabelled: boolean): void {
    const { from, to } = this.#picture;
    const { changes } = track;
    const first = Math.max(0, upperBoundOf(changes, from) - 1);
    for (let n = first; n < changes.length; n++) {
      const change = changes[n] as Change;
      if (change.at > to) return;
      const end = this.#endOf(track, n);
      if (end < from) continue;
      this.#segment(change, end, y, height, isLabelled);
    }
  }

  #segment({ at, label, tone }: Change, end: number, y: number, height: number, isLabelled: boolean): void {
    const { gutter, width } = this.#picture;
    const context = this.#context;
    const left = Math.max(gutter - 4, this.#x(at));
    const right = Math.min(width + 4, this.#x(end));
    const isQuiet = tone === "good" || tone === "passive";
    if (right - left < 0.5 && isQuiet) return;
    context.fillStyle = this.#palette.tones[tone];
    context.globalAlpha = isLabelled && isQuiet ? 0.82 : 1;
    context.beginPath();
    context.roundRect(left, y, Math.max(1.5, right - left - 1), height, Math.min(3, height / 2));
    context.fill();
    context.globalAlpha = 1;
    if (!isLabelled || height < 10 || right - left < 34) return;
    const start = Math.max(left, gutter) + 7;
    context.save();
    context.beginPath();
    context.rect(start - 2, y, Math.max(0, right - start - 3), height);
    context.clip();
    context.fillStyle = this.#palette.onTone;
    context.font = `${height > 14 ? 11 : 9.5}px ${this.#palette.font}`;
    context.textAlign = "left";
    context.fillText(label, start, y + height / 2 + 0.5);
    context.restore();
  }

  /** Draws that a node without a machine of its own was there. */
  #presence(id: string, lives: Life[], y: number, height: number): void {
    for (const { boot, from, hasStart } of lives) {
      const change = { at: from, label: "up", tone: "passive", value: "", isBeginning: hasStart } as const;
      this.#segment(change, this.#endOfLife(id, boot), y, height, true);
    }
  }

  /** Between two lives a node was down; after the last it is down, or out of reach. */
  #absences(id: string, lives: Life[], y: number, height: number): void {
    const { edge } = this.#picture;
    for (const [n, life] of lives.entries()) {
      const next = lives[n + 1];
      const end = this.#endOfLife(id, life.boot);
      // Others heard of it after its last record: what it did meanwhile is not known.
      const heard = this.#trace.endOf(id, life);
      if (end < edge && heard > life.to) this.#hatched(life.to, heard, y, height, "unknown", "records lost");
      if (next) this.#hatched(end, next.from, y, height, "down", life.ended ?? "down");
      else if (end < edge)
        this.#hatched(end, edge, y, height, life.ended ? "down" : "unknown", life.ended ?? "unknown");
    }
  }

  #hatched(from: number, to: number, y: number, height: number, tone: Tone, label: string): void {
    const { gutter, width } = this.#picture;
    const left = Math.max(gutter, this.#x(from));
    const right = Math.min(width, this.#x(to));
    if (right <= left) return;
    const context = this.#context;
    context.save();
    context.beginPath();
    context.rect(left, y, right - left, height);
    context.clip();
    context.fillStyle = this.#palette.surface;
    context.fillRect(left, y, right - left, height);
    context.strokeStyle = this.#palette.tones[tone];
    context.globalAlpha = 0.55;
    context.lineWidth = 1.5;
    context.beginPath();
    const offset = left - ((left + 1e6) % 8);
    for (let x = offset - height; x < right; x += 8) {
      context.moveTo(x, y + height);
      context.lineTo(x + height, y);
    }
    context.stroke();
    context.globalAlpha = 1;
    if (height >= 10 && right - left > 44) {
      context.font = `11px ${this.#palette.font}`;
      const textWidth = context.measureText(label).width;
      context.fillStyle = this.#palette.surface;
      context.fillRect(left + 4, y, textWidth + 22, height);
      context.fillStyle = this.#palette.tones[tone];
      context.fillText(`${tone === "down" ? "✕" : "?"} ${label}`, left + 8, y + height / 2 + 0.5);
    }
    context.restore();
  }

  /** The samples of a node's traffic that are in sight. */
  #samplesOf(id: string): { at: number[]; first: number; last: number } | null {
    const sums = this.#trace.sums.get(`traffic ${id}`);
    if (!sums) return null;
    const { from, to } = this.#picture;
    return {
      at: sums.at,
      first: Math.max(0, upperBound(sums.at, from) - 1),
      last: upperBound(sums.at, to + SAMPLE_MS),
    };
  }

  /** The most that any node moved in one sample in sight: the same height means the same everywhere. */
  #mostBytes(): number {
    let most = 1;
    for (const id of this.#picture.lanes) {
      const samples = this.#samplesOf(id);
      if (!samples) continue;
      for (let n = samples.first; n < samples.last; n++) most = Math.max(most, this.#trace.bytesMoved(id, n));
    }
    return most;
  }

  /** Bytes that a node moved, as hills in its lane. */
  #traffic(id: string, y: number, height: number, most: number): void {
    const samples = this.#samplesOf(id);
    if (!samples) return;
    const context = this.#context;
    context.fillStyle = this.#palette.onTone;
    context.globalAlpha = 0.38;
    for (let n = samples.first; n < samples.last; n++) {
      const bytes = this.#trace.bytesMoved(id, n);
      if (bytes === 0) continue;
      const end = samples.at[n] as number;
      const start = Math.max(samples.at[n - 1] as number, end - SAMPLE_MS);
      const hill = Math.max(1.5, Math.sqrt(bytes / most) * height);
      context.fillRect(this.#x(start), y + height - hill, Math.max(1, this.#x(end) - this.#x(start) - 0.5), hill);
    }
    context.globalAlpha = 1;
  }

  /** Close up, what one node said and another heard: heartbeats, entries and, brighter, votes. */
  #messages(): void {
    const { from, to, lanes, laneHeight } = this.#picture;
    if (to - from > CLOSE_UP_MS) return;
    const { records, at } = this.#trace;
    const context = this.#context;
    const laneOf = new Map(lanes.map((id, n) => [id, n]));
    const last = upperBound(at, to);
    let drawn = 0;
    for (let n = upperBound(at, from); n < last && drawn < MOST_MESSAGES; n++) {
      const record = records[n] as StepRecord;
      const cause = record.w === undefined ? undefined : this.#trace.get(record.w);
      if (!cause || cause.n === record.n) continue;
      const [sender, receiver] = [laneOf.get(cause.n), laneOf.get(record.n)];
      if (sender === undefined || receiver === undefined) continue;
      drawn++;
      const isVote = /vote/i.test(record.e);
      context.strokeStyle = isVote ? this.#palette.tones.trouble : this.#palette.text;
      context.globalAlpha = isVote ? 0.9 : 0.28;
      context.lineWidth = isVote ? 1.5 : 1;
      context.beginPath();
      context.moveTo(this.#x(this.#trace.positionOf(cause.h)), this.#top(sender) + laneHeight / 2);
      context.lineTo(this.#x(at[n] as number), this.#top(receiver) + laneHeight / 2);
      context.stroke();
    }
    context.globalAlpha = 1;
  }

  /** Drills, and how they ended. */
  #notes(): void {
    const context = this.#context;
    context.font = `10.5px ${this.#palette.font}`;
    context.textAlign = "left";
    for (const mark of this.#trace.marks) {
      const x = Math.round(this.#x(this.#trace.positionOf(mark.h)));
      context.fillStyle = this.#palette.accent;
      context.fillRect(x, AXIS - 9, 1.5, 9);
      context.beginPath();
      context.moveTo(x, AXIS - 9);
      context.lineTo(x + 8, AXIS - 6.5);
      context.lineTo(x, AXIS - 4);
      context.fill();
    }
  }

  #reportMarks(): void {
    const { reports, edge, height } = this.#picture;
    const context = this.#context;
    for (const { kind, from, to } of reports) {
      const left = this.#x(this.#trace.positionAt(from));
      const right = this.#x(to === null ? edge : this.#trace.positionAt(to));
      context.fillStyle = this.#palette.tones[kind === "leaderLoss" ? "down" : "trouble"];
      context.fillRect(left, AXIS - 3, Math.max(3, right - left), 3);
      context.globalAlpha = 0.4;
      context.fillRect(left, AXIS, 1, height - AXIS);
      context.globalAlpha = 1;
    }
  }

  #causeArrows(): void {
    const { selected, causes, lanes, laneHeight } = this.#picture;
    if (!selected) return;
    const context = this.#context;
    const middle = (record: StepRecord): [number, number] => {
      const lane = lanes.indexOf(record.n);
      return [this.#x(this.#trace.positionOf(record.h)), this.#top(Math.max(0, lane)) + laneHeight / 2];
    };
    context.strokeStyle = this.#palette.text;
    context.fillStyle = this.#palette.text;
    context.lineWidth = 1.5;
    const chain = [selected, ...causes].map(middle);
    context.beginPath();
    for (const [n, [x, y]] of chain.entries()) {
      const before = chain[n + 1];
      if (!before) continue;
      const [fromX, fromY] = before;
      const bend = Math.max(10, Math.abs(x - fromX) / 2);
      context.moveTo(fromX, fromY);
      context.bezierCurveTo(fromX + bend, fromY, x - bend, y, x, y);
    }
    context.stroke();
    for (const [n, [x, y]] of chain.entries()) {
      context.beginPath();
      context.arc(x, y, n === 0 ? 5 : 3, 0, 2 * Math.PI);
      context.fill();
      if (n > 0) continue;
      context.strokeStyle = this.#palette.surface;
      context.stroke();
    }
  }

  #cursor(): void {
    const { instant, cursor, width, height, gutter } = this.#picture;
    const x = Math.min(width - 1, Math.round(this.#x(instant)));
    if (x < gutter) return;
    const context = this.#context;
    const isLive = cursor === null;
    if (!isLive) {
      context.fillStyle = this.#palette.surface;
      context.globalAlpha = 0.5;
      context.fillRect(x, AXIS, width - x, height - AXIS);
      context.globalAlpha = 1;
    }
    context.fillStyle = isLive ? this.#palette.tones.good : this.#palette.accent;
    context.fillRect(x - 1, AXIS - 6, 2, height - AXIS + 6);
    context.beginPath();
    context.moveTo(x - 6, AXIS - 10);
    context.lineTo(x + 6, AXIS - 10);
    context.lineTo(x, AXIS - 2);
    context.fill();
  }
}
