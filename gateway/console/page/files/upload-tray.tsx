import { source } from "../failover/playback.ts";
import { Icon } from "../shell/icon.tsx";
import { isStale } from "../silence.ts";
import { bytesInWords, percent } from "../words.ts";
import type { Upload } from "./upload-queue.ts";
import { queue, totals, uploads } from "./uploads.ts";

/** Rows that are shown; the sum above counts all uploads. */
const MOST_SHOWN = 50;
/** What needs a person first, then what moves, then what waits. */
const ORDER: Record<Upload["state"], number> = {
  exists: 0,
  failed: 1,
  sending: 2,
  finishing: 2,
  waiting: 3,
  done: 4,
  cancelled: 5,
};

/** Uploads under way, in a corner of every view, while one goes on working. A recording does not stop them. */
export function UploadTray() {
  const list = uploads.value.filter(({ state }) => state !== "cancelled");
  if (list.length === 0) return null;
  const { files, done, open, bytes, sentBytes, stuck } = totals.value;
  const shown = list.toSorted((a, b) => ORDER[a.state] - ORDER[b.state]).slice(0, MOST_SHOWN);
  return (
    <section class="tray" aria-label="Uploads">
      <header>
        <strong>
          {source.value.kind === "recording" && "Live cluster: "}
          {open > 0 ? `Storing ${files} ${files === 1 ? "file" : "files"}` : stuck > 0 ? "Waiting for you" : "Stored"}
        </strong>
        <span class="quiet">
          {done} of {files} · {percent(sentBytes, bytes)}
        </span>
        {open > 0 ? (
          <button type="button" class="button" onClick={() => queue.cancelAll()}>
            Cancel all
          </button>
        ) : (
          <button type="button" class="icon-button" aria-label="Close" onClick={() => queue.clearFinished()}>
            <Icon name="close" />
          </button>
        )}
      </header>
      <ul>
        {shown.map((upload) => (
          <UploadRow key={upload.id} upload={upload} />
        ))}
      </ul>
    </section>
  );
}

function UploadRow({ upload }: { upload: Upload }) {
  const { id, path, file, state, sentBytes, speed, problem } = upload;
  const name = path.split("/").pop() ?? path;
  return (
    <li class={`upload ${state}`}>
      <div class="upload-line">
        <span class="name" title={path}>
          {name}
        </span>
        <span class="quiet">{stateInWords(upload, speed)}</span>
        {(state === "sending" || state === "waiting" || state === "finishing") && (
          <button type="button" class="icon-button" aria-label={`Cancel ${name}`} onClick={() => queue.cancel(id)}>
            <Icon name="close" />
          </button>
        )}
        {state === "done" && <Icon name="check" />}
      </div>
      {(state === "sending" || state === "finishing") && (
        <progress max={Math.max(1, file.size)} value={sentBytes} aria-label={`Progress of ${name}`} />
      )}
      {state === "exists" && (
        <div class="upload-choice">
          <span>{path} is there already.</span>
          <button type="button" class="button" disabled={isStale.value} onClick={() => queue.tryAgain(id, true)}>
            Replace
          </button>
          <button type="button" class="button" onClick={() => queue.skip(id)}>
            Skip
          </button>
        </div>
      )}
      {state === "failed" && (
        <div class="upload-choice">
          <span>{problem}</span>
          <button type="button" class="button" disabled={isStale.value} onClick={() => queue.tryAgain(id)}>
            Try again
          </button>
          <button type="button" class="button" onClick={() => queue.skip(id)}>
            Leave it
          </button>
        </div>
      )}
    </li>
  );
}

function stateInWords({ state, file }: Upload, speed: number): string {
  const size = bytesInWords(file.size);
  if (state === "sending") return speed > 0 ? `${size}, ${bytesInWords(speed)}/s` : size;
  if (state === "finishing") return "being made safe";
  if (state === "waiting") return "waits";
  return size;
}
