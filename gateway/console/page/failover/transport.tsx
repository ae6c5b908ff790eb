/** Below the timeline's title: step, play, speed, the instant shown, and the span. Space plays. */
import { Icon } from "../shell/icon.tsx";
import { durationInWords } from "../words.ts";
import { streamNow } from "./live.ts";
import {
  cursor,
  goLive,
  instant,
  isPlaying,
  liveEdge,
  range,
  SPEEDS,
  source,
  span,
  speed,
  step,
  togglePlay,
  trace,
} from "./playback.ts";

const SPANS = [
  { label: "10 s", ms: 10_000 },
  { label: "1 min", ms: 60_000 },
  { label: "10 min", ms: 600_000 },
];

export function Transport({ at }: { at: string }) {
  const isLive = cursor.value === null && source.value.kind === "live";
  const behind = liveEdge.value - instant.value;
  return (
    <div class="transport">
      <div class="button-group">
        <button type="button" class="icon-button" aria-label="Step back by one event" onClick={() => step(-1)}>
          <Icon name="stepBack" />
        </button>
        <button
          type="button"
          class="icon-button strong"
          aria-label={isPlaying.value ? "Pause" : "Play"}
          onClick={togglePlay}
        >
          <Icon name={isPlaying.value ? "pause" : "play"} />
        </button>
        <button type="button" class="icon-button" aria-label="Step on by one event" onClick={() => step(1)}>
          <Icon name="stepForward" />
        </button>
      </div>
      <label class="speed">
        <span class="visually-hidden">Speed</span>
        <select
          value={String(speed.value)}
          onChange={(event) => {
            speed.value = Number(event.currentTarget.value);
          }}
        >
          {SPEEDS.map((value) => (
            <option key={value} value={String(value)}>
              {value}×
            </option>
          ))}
        </select>
      </label>
      <output class="instant mono">{at}</output>
      {source.value.kind === "live" &&
        (isLive ? (
          <span class={`live-pill ${streamNow.value.isLive ? "" : "silent"}`} role="status">
            <Icon name={streamNow.value.isLive ? "live" : "warn"} /> {streamNow.value.text}
          </span>
        ) : (
          <button type="button" class="button back-to-live" onClick={goLive}>
            <Icon name="live" /> {durationInWords(behind)} ago, back to live
          </button>
        ))}
      <span class="spacer" />
      <Spans />
    </div>
  );
}

/** How much of the timeline is seen. */
function Spans() {
  return (
    <fieldset class="button-group" aria-label="Span shown">
      {SPANS.map(({ label, ms }) => (
        <button
          key={ms}
          type="button"
          class="button small"
          aria-pressed={range.value === null && span.value === ms}
          onClick={() => {
            span.value = ms;
            range.value =
              cursor.peek() === null ? null : { from: instant.peek() - ms * 0.7, to: instant.peek() + ms * 0.3 };
          }}
        >
          {label}
        </button>
      ))}
      <button
        type="button"
        class="icon-button"
        aria-label="Show everything"
        onClick={() => {
          const width = Math.max(1000, liveEdge.peek() - trace().first);
          range.value = { from: trace().first - width * 0.01, to: liveEdge.peek() + width * 0.01 };
        }}
      >
        <Icon name="fit" />
      </button>
    </fieldset>
  );
}
