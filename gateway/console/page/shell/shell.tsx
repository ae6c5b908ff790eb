/** What is on every view: where one is, how the data fares in one honest sentence, and whether the gateway answers. */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { lastAnswer, silence, token, tokenWanted } from "../ask.ts";
import { verdict } from "../cluster/cluster-store.ts";
import { ClusterView } from "../cluster/cluster-view.tsx";
import { FailoverView } from "../failover/failover-view.tsx";
import { redundancyAt } from "../failover/node-state.ts";
import { about, cursor, goLive, instant, source, trace } from "../failover/playback.ts";
import { shareHash } from "../failover/share.ts";
import { FilesView } from "../files/files-view.tsx";
import { folderHash, route, type View } from "../route.ts";
import { theme, toggleTheme } from "../theme.ts";
import { clockTime, durationInWords } from "../words.ts";
import { QuestionDialog } from "./dialog.tsx";
import { Icon, type IconName } from "./icon.tsx";
import { Notices } from "./notices.tsx";

const TITLES: Record<View, string> = { files: "Files", cluster: "Cluster", failover: "Failover" };
const hashOf = (view: View): string =>
  view === "files" ? folderHash("") : view === "failover" ? shareHash() : "#/cluster";

export function Shell() {
  const { view } = route.value;
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
            .filter((name) => name !== "files" || about.value?.mode !== "replay")
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
      {tokenWanted.value && <TokenForm />}
      <main id="main" tabIndex={-1} class={`view-${view}`}>
        {view === "files" && <FilesView />}
        {view === "cluster" && <ClusterView />}
        {view === "failover" && <FailoverView />}
      </main>
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

/** In the past there is no verdict: nobody computed one for that instant. */
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
        {source.value.kind === "live" && route.value.view !== "failover" && (
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
function Silence() {
  const seconds = useSignal(0);
  const isSilent = silence.value !== null;
  useEffect(() => {
    if (!isSilent) return;
    const count = (): void => {
      seconds.value = lastAnswer.peek() === null ? 0 : performance.now() - (lastAnswer.peek() as number);
    };
    count();
    const timer = setInterval(count, 1000);
    return () => clearInterval(timer);
  }, [isSilent]);
  return (
    <div role="alert" class="silence-place">
      {isSilent && (
        <p class="silence" id="silence">
          <Icon name="warn" />
          <span>
            {silence.value}
            {seconds.value > 0 ? `, for ${durationInWords(seconds.value)}` : ""}. What you see is from before; it is
            asked again every second.
          </span>
        </p>
      )}
    </div>
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
