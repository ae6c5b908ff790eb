/** Whether what the page shows of the cluster is known to be so now, for everything that shows it or acts on it. */
import { computed, effect } from "@preact/signals";
import { announce } from "./announce.ts";
import { lastAnswer, pageClock, silence } from "./ask.ts";
import { about, source } from "./failover/playback.ts";
import { silentForMs } from "./silence-words.ts";

/** A recording needs no gateway to be true. */
const showsCluster = computed(() => source.value.kind === "live" && about.value?.mode !== "replay");

/** Age of what is shown; null: it is current. */
export const staleMs = computed<number | null>(() =>
  showsCluster.value ? silentForMs({ now: pageClock.value, heardAt: lastAnswer.value }, silence.value !== null) : null,
);
export const isStale = computed(() => staleMs.value !== null);

effect(() => {
  document.documentElement.toggleAttribute("data-stale", isStale.value);
});

/** Ask this before any change: what the page shows may be out of date. */
export function mayAct(): boolean {
  if (isStale.peek()) announce("The gateway does not answer: nothing can be changed now.", "problem");
  return !isStale.peek();
}
