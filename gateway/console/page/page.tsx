/** The console: begins everything that goes on for as long as the page is open, and draws it. */
import { render } from "preact";
import { watchCluster } from "./cluster/cluster-store.ts";
import { followLive } from "./failover/live.ts";
import { startClock } from "./failover/playback.ts";
import { followLink, keepLink } from "./failover/share.ts";
import { Shell } from "./shell/shell.tsx";

watchCluster();
startClock();
keepLink();
void followLive();
addEventListener("hashchange", followLink);
render(<Shell />, document.getElementById("app") as HTMLElement);
