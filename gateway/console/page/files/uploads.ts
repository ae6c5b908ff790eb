/** Files on their way into the cluster: a few at a time, each with its progress, each to be cancelled or tried again. */
import { computed, signal } from "@preact/signals";
import { announce } from "../announce.ts";
import { type AskError, authorization, fileUrl, noteAnswer, noteSilence, problemOf, sentenceOf } from "../ask.ts";
import { exists, reload } from "./listing.ts";

export type UploadState = "waiting" | "sending" | "finishing" | "done" | "failed" | "exists" | "cancelled";

export interface Upload {
  id: number;
  path: string;
  file: File;
  state: UploadState;
  sentBytes: number;
  /** bytes per second, of late */
  speed: number;
  problem: string | null;
  mayReplace: boolean;
}

const AT_ONCE = 3;

export const uploads = signal<Upload[]>([]);
const requests = new Map<number, XMLHttpRequest>();
let lastId = 0;

const change = (id: number, changes: Partial<Upload>): void => {
  uploads.value = uploads.peek().map((upload) => (upload.id === id ? { ...upload, ...changes } : upload));
};

export const totals = computed(() => {
  const list = uploads.value.filter(({ state }) => state !== "cancelled");
  const isOpen = ({ state }: Upload): boolean => state === "waiting" || state === "sending" || state === "finishing";
  return {
    files: list.length,
    done: list.filter(({ state }) => state === "done").length,
    open: list.filter(isOpen).length,
    stuck: list.filter(({ state }) => state === "failed" || state === "exists").length,
    bytes: list.reduce((sum, { file }) => sum + file.size, 0),
    sentBytes: list.reduce((sum, { file, state, sentBytes }) => sum + (state === "done" ? file.size : sentBytes), 0),
  };
});

export function addUploads(list: { path: string; file: File }[]): void {
  const added = list.map(({ path, file }): Upload => {
    return { id: ++lastId, path, file, state: "waiting", sentBytes: 0, speed: 0, problem: null, mayReplace: false };
  });
  uploads.value = [...uploads.peek().filter(({ state }) => state !== "done" && state !== "cancelled"), ...added];
  startWaiting();
}

function startWaiting(): void {
  const list = uploads.peek();
  const free = AT_ONCE - list.filter(({ state }) => state === "sending" || state === "finishing").length;
  for (const upload of list.filter(({ state }) => state === "waiting").slice(0, Math.max(0, free))) void send(upload);
}

async function send(upload: Upload): Promise<void> {
  const { id, path } = upload;
  change(id, { state: "sending", sentBytes: 0, problem: null });
  try {
    if (!upload.mayReplace && (await exists(path))) return change(id, { state: "exists" });
    await put(upload);
    change(id, { state: "done", sentBytes: upload.file.size });
    if (totals.peek().open === 0) announce(uploadsInWords());
  } catch (error) {
    const state = uploads.peek().find((one) => one.id === id)?.state;
    if (state === "cancelled") return;
    const code = (error as AskError).code;
    if (code === "PRECONDITION_FAILED") change(id, { state: "exists" });
    else change(id, { state: "failed", problem: sentenceOf(error) });
  } finally {
    requests.delete(id);
    scheduleReload();
    startWaiting();
  }
}

/** fetch tells nothing of an upload's progress; XMLHttpRequest does. */
function put({ id, path, file, mayReplace }: Upload): Promise<void> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    requests.set(id, request);
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
      change(id, { sentBytes: loaded, speed, state: loaded >= file.size ? "finishing" : "sending" });
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

export function cancelUpload(id: number): void {
  change(id, { state: "cancelled" });
  requests.get(id)?.abort();
  startWaiting();
}

export const cancelAll = (): void => {
  for (const { id, state } of uploads.peek())
    if (state === "waiting" || state === "sending" || state === "finishing") cancelUpload(id);
};

export function tryAgain(id: number, mayReplace = false): void {
  change(id, { state: "waiting", mayReplace, problem: null });
  startWaiting();
}

export const skip = (id: number): void => change(id, { state: "cancelled" });

export const clearFinished = (): void => {
  uploads.value = uploads.peek().filter(({ state }) => state !== "done" && state !== "cancelled" && state !== "failed");
};

function uploadsInWords(): string {
  const { done, stuck } = totals.peek();
  const stored = done === 1 ? "1 file is stored" : `${done} files are stored`;
  return stuck === 0 ? `${stored}.` : `${stored}; ${stuck} need a decision.`;
}

addEventListener("beforeunload", (event) => {
  if (totals.peek().open > 0) event.preventDefault();
});
