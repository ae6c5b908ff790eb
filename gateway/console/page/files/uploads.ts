/** Uploads of this page: the queue's courier over XMLHttpRequest, and what the page shows and says of them. */
import { computed, signal } from "@preact/signals";
import { announce } from "../announce.ts";
import { AskError, authorization, fileUrl, noteAnswer, noteSilence, problemOf, sentenceOf } from "../ask.ts";
import { exists, reload } from "./listing.ts";
import { type Courier, type Progress, totalsOf, type Upload, UploadQueue } from "./upload-queue.ts";

export const uploads = signal<Upload[]>([]);
export const totals = computed(() => totalsOf(uploads.value));

const courier: Courier<File> = {
  exists,
  put,
  isThere: (error) => error instanceof AskError && error.code === "PRECONDITION_FAILED",
  inWords: sentenceOf,
};

export const queue = new UploadQueue(
  courier,
  (list) => {
    const wasOpen = totals.peek().open > 0;
    uploads.value = list;
    if (wasOpen && totals.peek().open === 0 && totals.peek().done > 0) announce(uploadsInWords());
  },
  scheduleReload,
);

/** fetch does not report an upload's progress; XMLHttpRequest does. */
function put(
  { path, file, mayReplace }: Upload,
  onProgress: (progress: Progress) => void,
  signal: AbortSignal,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    signal.addEventListener("abort", () => request.abort(), { once: true });
    request.open("PUT", fileUrl(path));
    for (const [name, value] of Object.entries(authorization())) request.setRequestHeader(name, value);
    request.setRequestHeader("content-type", file.type || "application/octet-stream");
    request.setRequestHeader("idempotency-key", crypto.getRandomValues(new Uint32Array(4)).join("-"));
    if (!mayReplace) request.setRequestHeader("if-none-match", "*");
    let mark = { bytes: 0, at: performance.now() };
    request.upload.onprogress = ({ loaded }) => {
      const ms = performance.now() - mark.at;
      if (ms < 150 && loaded < file.size) return;
      const speed = ms > 0 ? ((loaded - mark.bytes) / ms) * 1000 : 0;
      mark = { bytes: loaded, at: performance.now() };
      onProgress({ sentBytes: loaded, speed, state: loaded >= file.size ? "finishing" : "sending" });
    };
    request.onload = () => {
      noteAnswer();
      if (request.status < 300) resolve();
      else reject(problemOf(request.status, request.responseText));
    };
    request.onerror = () => {
      noteSilence("The gateway does not answer");
      reject(problemOf(0, '{"code":"BROKEN","detail":"The connection broke","next":"Nothing was stored; try again."}'));
    };
    request.onabort = () => reject(new Error("cancelled"));
    request.send(file);
  });
}

let isReloadDue = false;
/** A folder of a thousand files is listed anew a few times, not a thousand. */
function scheduleReload(): void {
  if (isReloadDue) return;
  isReloadDue = true;
  setTimeout(() => {
    isReloadDue = false;
    void reload();
  }, 250);
}

function uploadsInWords(): string {
  const { done, stuck } = totals.peek();
  const stored = done === 1 ? "1 file is stored" : `${done} files are stored`;
  return stuck === 0 ? `${stored}.` : `${stored}; ${stuck} need a decision.`;
}

addEventListener("beforeunload", (event) => {
  if (totals.peek().open > 0) event.preventDefault();
});
