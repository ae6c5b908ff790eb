/** What just happened, as movement on the drawing. */

import { useEffect } from "preact/hooks";
import type { StepRecord } from "../../api.ts";
import { wantsStillness } from "../theme.ts";
import { onPassed } from "./playback.ts";
import { type Tone, toneOf } from "./tones.ts";

const RUN_MS = 650;
const GLOW_MS = 1500;
const MOST_RUNNERS = 16;
/** The same arrow is run along no more often than the eye can tell. */
const AGAIN_AFTER_MS = 220;

/** What happened runs along its arrow; what repeats itself, a heartbeat, only makes it glow a little. */
class Runners {
  readonly #machine: string;
  readonly #frame: Element;
  readonly #layer: Element;
  readonly #lastRun = new Map<string, number>();
  #running = 0;

  constructor(machine: string, frame: Element, layer: Element) {
    this.#machine = machine;
    this.#frame = frame;
    this.#layer = layer;
  }

  show(records: readonly StepRecord[]): void {
    const now = performance.now();
    for (const record of records) {
      if (record.m !== this.#machine) continue;
      for (const id of record.x ?? []) {
        if (now - (this.#lastRun.get(id) ?? Number.NEGATIVE_INFINITY) < AGAIN_AFTER_MS) continue;
        this.#lastRun.set(id, now);
        this.#showEdge(CSS.escape(id), record);
      }
    }
  }

  #showEdge(id: string, record: StepRecord): void {
    const inner = this.#frame.querySelector(`[data-inner="${id}"]`);
    inner?.animate([{ opacity: 1, fontWeight: 700 }, { opacity: 1 }], { duration: GLOW_MS });
    const group = this.#frame.querySelector(`[data-edge="${id}"]`);
    if (!group) return;
    const isMove = record.f !== undefined;
    group.classList.remove("fired", "beat");
    group.getBoundingClientRect();
    group.classList.add(isMove ? "fired" : "beat");
    setTimeout(() => group.classList.remove("fired", "beat"), GLOW_MS);
    if (isMove && !wantsStillness()) this.#run(group, toneOf(this.#machine, record.v));
  }

  #run(group: Element, tone: Tone): void {
    const path = group.querySelector("path");
    if (!path || this.#running >= MOST_RUNNERS) return;
    this.#running++;
    const dot = document.createElementNS("http://www.w3.org/2000/svg", "circle");
    dot.setAttribute("r", "5");
    dot.setAttribute("class", `runner ${tone}`);
    this.#layer.append(dot);
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
        this.#running--;
      }
    };
    requestAnimationFrame(move);
  }
}

/** @param layer the dots are put into it */
export function useRunners(
  machine: string,
  frame: { current: HTMLElement | null },
  layer: { current: SVGGElement | null },
): void {
  useEffect(() => {
    if (!frame.current || !layer.current) return;
    const runners = new Runners(machine, frame.current, layer.current);
    return onPassed((records) => runners.show(records));
  }, [machine]);
}
