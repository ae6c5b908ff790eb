/** Whether what the page shows of the cluster is known to be so now, for everything that shows it or acts on it. */
import { computed, effect } from "@preact/signals";
import { announce } from "./announce.ts";
import { lastAnswer, pageClock, silence } from "./ask.ts";
import { about, source } from "./failover/playback.ts";
import { silentForMs } from "./silence-words.ts";

/** A recording is as true with a gateway as without. */
const showsCluster = computed(() => source.value.kind === "live" && about.value?.mode !== "replay");

/** How old it is; null: it is of now. */
export const staleMs = computed<number | null>(() =>
  showsCluster.value ? silentForMs({ now: pageClock.value, heardAt: lastAnswer.value }, silence.value !== null) : null,
);
export const isStale = computed(() => staleMs.value !== null);

effect(() => {
  document.documentElement.toggleAttribute("data-stale", isStale.value);
});

/** To be asked before anything is changed: what one sees may be gone. */
export function mayAct(): boolean {
  if (isStale.peek()) announce("The gateway does not answer: nothing can be changed now.", "problem");
  return !isStale.peek();
}
