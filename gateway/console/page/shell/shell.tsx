/** What is on every view: where one is, how the data fares in one honest sentence, and whether the gateway answers. */
import { computed } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { token, tokenWanted } from "../ask.ts";
import { verdict } from "../cluster/cluster-store.ts";
import { ClusterView } from "../cluster/cluster-view.tsx";
import { FailoverView } from "../failover/failover-view.tsx";
import { followLive } from "../failover/live.ts";
import { redundancyAt } from "../failover/node-state.ts";
import { about, cursor, goLive, instant, source, trace } from "../failover/playback.ts";
import { shareHash } from "../failover/share.ts";
import { FilesView } from "../files/files-view.tsx";
import { UploadTray } from "../files/upload-tray.tsx";
import { folderHash, route, type View } from "../route.ts";
import { isStale, staleMs } from "../silence.ts";
import { theme, toggleTheme } from "../theme.ts";
import { clockTime, dateInWords, durationInWords } from "../words.ts";
import { QuestionDialog } from "./dialog.tsx";
import { Icon, type IconName } from "./icon.tsx";
import { Notices } from "./notices.tsx";

const TITLES: Record<View, string> = { files: "Files", cluster: "Cluster", failover: "Failover" };
const hashOf = (view: View): string =>
  view === "files" ? folderHash("") : view === "failover" ? shareHash() : "#/cluster";

/** A recording holds no files: those of the live cluster beside it would be changed under its verdict. */
const hasFiles = computed(() => source.value.kind === "live" && about.value?.mode !== "replay");
const shownView = computed<View>(() =>
  route.value.view === "files" && !hasFiles.value ? "failover" : route.value.view,
);

export function Shell() {
  const view = shownView.value;
  useEffect(() => {
    document.title = `${TITLES[view]} · console`;
  }, [view]);
  return (
    <>
      <a class="skip-link" href="#main">
        To the content
      </a>
      <header class="top">
        <span class="brand" aria-hidden="true">
          <svg viewBox="0 0 32 32" aria-hidden="true" focusable="false">
            <rect x="3" y="3" width="12" height="12" rx="3" class="passive" />
            <rect x="17" y="3" width="12" height="12" rx="3" class="good" />
            <rect x="3" y="17" width="12" height="12" rx="3" class="wary" />
            <rect x="17" y="17" width="12" height="12" rx="3" class="passive" />
          </svg>
        </span>
        <nav class="views" aria-label="Views">
          {(Object.keys(TITLES) as View[])
            .filter((name) => name !== "files" || hasFiles.value)
            .map((name) => (
              <a key={name} href={hashOf(name)} aria-current={view === name ? "page" : undefined}>
                {TITLES[name]}
              </a>
            ))}
        </nav>
        <Health />
        <button
          type="button"
          class="icon-button"
          aria-label={theme.value === "dark" ? "Light colours" : "Dark colours"}
          onClick={toggleTheme}
        >
          <Icon name={theme.value === "dark" ? "sun" : "moon"} />
        </button>
      </header>
      <Silence />
      <RecordingStrip />
      {tokenWanted.value && <TokenForm />}
      <main id="main" tabIndex={-1} class={`view-${view}`}>
        {view === "files" && <FilesView />}
        {view === "cluster" && <ClusterView />}
        {view === "failover" && <FailoverView />}
      </main>
      <UploadTray />
      <Notices />
      <QuestionDialog />
    </>
  );
}

const LEVELS: Record<string, { icon: IconName; tone: string }> = {
  ok: { icon: "check", tone: "good" },
  degraded: { icon: "warn", tone: "wary" },
  lost: { icon: "cross", tone: "down" },
  unknown: { icon: "question", tone: "unknown" },
};

/** What the leader had counted by then; nothing if no count is held. */
function dataInWords(): string {
  const counted = redundancyAt();
  if (counted === null) return "";
  const { chunks, full, unknown } = counted;
  if (full === chunks) return `: all ${chunks} chunks had their copies`;
  const short = chunks - full - unknown;
  const parts = [short > 0 ? `${short} were short` : "", unknown > 0 ? `${unknown} were not known yet` : ""];
  return `: of ${chunks} chunks ${parts.filter(Boolean).join(", ")}`;
}

/** In the past there is no verdict: none was computed for that instant. */
function Health() {
  if (source.value.kind === "recording" || cursor.value !== null)
    return (
      <p class="health past" role="status">
        <Icon name="stepBack" />
        <span>
          <b class="mono">{clockTime(trace().timeOf(instant.value), false)}</b>
          {source.value.kind === "recording" ? " in the recording" : " in the past"}
          {dataInWords()}
        </span>
        {source.value.kind === "live" && shownView.value !== "failover" && (
          <button type="button" class="button small" onClick={goLive}>
            Back to live
          </button>
        )}
      </p>
    );
  const { level, sentence } = verdict.value;
  const { icon, tone } = LEVELS[level] as (typeof LEVELS)[string];
  return (
    <p class={`health ${tone}`} role="status" id="health" data-level={level}>
      <Icon name={icon} />
      <span title={sentence}>{sentence}</span>
    </p>
  );
}

/** A page left open while the gateway restarts says so, and loses nothing. */
const Silence = () => (
  <div role="alert" class="silence-place">
    {isStale.value && (
      <p class="silence" id="silence">
        <Icon name="warn" />
        <span>
          The gateway does not answer. What you see is {durationInWords(staleMs.value ?? 0)} old; it is asked again
          every second.
        </span>
      </p>
    )}
  </div>
);

/** On every view, so that the past is not taken for the present. */
function RecordingStrip() {
  const from = source.value;
  if (from.kind !== "recording") return null;
  return (
    <section class="recording-strip" aria-label="What is shown">
      <p class="recording-note">
        <b>Recording</b> {from.name}
        <span class="quiet">
          {" "}
          of cluster {from.cluster}, {dateInWords(new Date(from.exportedAt).toISOString())}
          {from.seed ? `, seed ${from.seed}` : ""}
        </span>
      </p>
      {about.value?.mode !== "replay" && (
        <button type="button" class="button small" onClick={() => void followLive()}>
          <Icon name="close" /> Close
        </button>
      )}
    </section>
  );
}

function TokenForm() {
  return (
    <form
      class="token-form panel"
      onSubmit={(event) => {
        event.preventDefault();
        const given = new FormData(event.currentTarget).get("token");
        token.value = String(given ?? "");
        location.reload();
      }}
    >
      <label class="field">
        <span>This gateway asks for a token. It is kept in this tab only.</span>
        <input name="token" type="password" autocomplete="off" required />
      </label>
      <button type="submit" class="button primary">
        Go on
      </button>
    </form>
  );
}
