/** The cluster view while a past instant is shown: only what the records know of it. */
import { Icon } from "../shell/icon.tsx";
import { clockTime } from "../words.ts";
import { NodesPanel } from "./nodes-panel.tsx";
import { goLive, instant, source, trace } from "./playback.ts";

export const PastNodes = () => (
  <section class="panel past-view">
    <p class="past-note">
      <Icon name="stepBack" />
      <span>
        This is the cluster at <b class="mono">{clockTime(trace().timeOf(instant.value))}</b>, from what its nodes
        recorded. Space, load and buttons are of the present only.
      </span>
      {source.value.kind === "live" && (
        <button type="button" class="button back-to-live" onClick={goLive}>
          <Icon name="live" /> Back to live
        </button>
      )}
    </p>
    <NodesPanel />
  </section>
);
