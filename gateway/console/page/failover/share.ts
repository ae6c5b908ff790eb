/** A link that shows another person the same instant, machine and event. */
import { effect, signal } from "@preact/signals";
import { replaceHash, route } from "../route.ts";
import { cursor, goTo, isPlaying, seek, selected, trace } from "./playback.ts";

export const machine = signal("raft");

export function shareHash(): string {
  const params = new URLSearchParams({ m: machine.peek() });
  if (cursor.peek() !== null)
    params.set("t", String(Math.round(trace().timeOf(cursor.peek() as number) * 1000) / 1000));
  if (selected.peek() !== null) params.set("e", selected.peek() as string);
  return `#/failover?${params}`;
}

export const shareLink = (): string => `${location.origin}${location.pathname}${shareHash()}`;

/** Goes to where the link says, as soon as something is known of that time. */
export function followLink(): void {
  const { view, params } = route.peek();
  if (view !== "failover") return;
  const wanted = params.get("m");
  if (wanted) machine.value = wanted;
  const ms = Number(params.get("t"));
  const record = trace().get(params.get("e") ?? "");
  // Milliseconds cannot tell the events of one of them apart; the event itself can.
  if (record) goTo(record);
  else if (ms > 0) seek(trace().positionAt(ms));
}

/** Keeps the link in the address bar true, but not thirty times a second. */
export function keepLink(): void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  effect(() => {
    cursor.value;
    selected.value;
    machine.value;
    if (route.value.view !== "failover" || isPlaying.value) return;
    clearTimeout(timer);
    timer = setTimeout(() => route.peek().view === "failover" && replaceHash(shareHash()), 300);
  });
}
