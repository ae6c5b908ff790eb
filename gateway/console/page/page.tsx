/** The console: begins everything that goes on for as long as the page is open, and draws it. */
import { render } from "preact";
import type { About } from "../api.ts";
import { askJson } from "./ask.ts";
import { watchCluster } from "./cluster/cluster-store.ts";
import { followLive } from "./failover/live.ts";
import { about, source, startClock } from "./failover/playback.ts";
import { showServedRecording } from "./failover/recording-file.ts";
import { followLink, keepLink } from "./failover/share.ts";
import { Shell } from "./shell/shell.tsx";

/** A replay has no cluster behind it: the recording is all there is. */
async function begin(): Promise<void> {
  const known = await askJson<About>("/console/api/about").catch(() => null);
  about.value = known;
  if (known?.mode === "replay") return showServedRecording(known.cluster);
  watchCluster();
  // A recording that a quick person opened meanwhile stays.
  if (source.peek().kind === "live") await followLive();
}

startClock();
keepLink();
void begin();
addEventListener("hashchange", followLink);
render(<Shell />, document.getElementById("app") as HTMLElement);
