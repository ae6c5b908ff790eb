/** When the page no longer knows that what it shows is current, and how it says so. Pure. */
import { durationInWords } from "./words.ts";

/** The stream says something every 2 s; after this long without a word, what is shown is from before. */
export const SILENT_AFTER_MS = 6000;

/** All in ms of the page's own clock, which never jumps. */
export interface Hearing {
  now: number;
  /** null: nothing was heard yet */
  heardAt: number | null;
}

/** @returns how long nothing was heard, if that is too long or `isBroken` says that nothing comes; null: all is well */
export function silentForMs({ now, heardAt }: Hearing, isBroken: boolean): number | null {
  if (heardAt === null) return isBroken ? 0 : null;
  const age = Math.max(0, now - heardAt);
  return isBroken || age > SILENT_AFTER_MS ? age : null;
}

/** `connecting` and `loading` lead to `open`; `broken` tries again. */
export type StreamPhase = "connecting" | "loading" | "open" | "broken";

/** The words in place of "live": only what arrives now is live. */
export function streamInWords(phase: StreamPhase, hearing: Hearing): { isLive: boolean; text: string } {
  const silentMs = silentForMs(hearing, phase === "broken");
  if (phase === "connecting") return { isLive: false, text: "connecting" };
  if (phase === "loading") return { isLive: false, text: "loading the past" };
  if (silentMs === null) return { isLive: true, text: "live" };
  return { isLive: false, text: silentMs < 1000 ? "silent" : `silent for ${durationInWords(silentMs)}` };
}
