/**
 * Files on their way into the cluster: a few at a time, each can be cancelled or tried again. The queue decides which upload
 * goes when, and ignores answers that come too late. The courier moves the bytes. No browser needed.
 */
export type UploadState = "waiting" | "sending" | "finishing" | "done" | "failed" | "exists" | "cancelled";

export interface Upload<F extends { size: number } = File> {
  id: number;
  path: string;
  file: F;
  state: UploadState;
  sentBytes: number;
  /** bytes per second, of late */
  speed: number;
  problem: string | null;
  mayReplace: boolean;
}

export type Progress = Pick<Upload, "sentBytes" | "speed"> & { state: "sending" | "finishing" };

export interface Courier<F extends { size: number }> {
  /** Whether something is there already. */
  exists(path: string, signal: AbortSignal): Promise<boolean>;
  put(upload: Upload<F>, onProgress: (progress: Progress) => void, signal: AbortSignal): Promise<void>;
  /** Whether `put` failed because something is there. */
  isThere(error: unknown): boolean;
  inWords(error: unknown): string;
}

export const UPLOADS_AT_ONCE = 3;

const isOpen = ({ state }: { state: UploadState }): boolean =>
  state === "waiting" || state === "sending" || state === "finishing";

export class UploadQueue<F extends { size: number } = File> {
  readonly #courier: Courier<F>;
  readonly #onChange: (uploads: Upload<F>[]) => void;
  readonly #onEnd: () => void;
  #uploads: Upload<F>[] = [];
  /** What is being done, by upload. An attempt that is no longer in here may change nothing. */
  readonly #underWay = new Map<number, AbortController>();
  #lastId = 0;

  /**
   * @param onChange called with all uploads, once per change
   * @param onEnd an upload under way ended, well or not
   */
  constructor(courier: Courier<F>, onChange: (uploads: Upload<F>[]) => void, onEnd: () => void) {
    this.#courier = courier;
    this.#onChange = onChange;
    this.#onEnd = onEnd;
  }

  add(list: readonly { path: string; file: F }[]): void {
    const added = list.map(({ path, file }): Upload<F> => {
      const id = ++this.#lastId;
      return { id, path, file, state: "waiting", sentBytes: 0, speed: 0, problem: null, mayReplace: false };
    });
    this.#set([...this.#uploads.filter(({ state }) => state !== "done" && state !== "cancelled"), ...added]);
    this.#startWaiting();
  }

  cancel(id: number): void {
    this.#cancel((upload) => upload.id === id);
  }

  cancelAll(): void {
    this.#cancel(() => true);
  }

  /** Cancels all at once, so that none begins while another ends. */
  #cancel(isMeant: (upload: Upload<F>) => boolean): void {
    const meant = new Set(this.#uploads.filter((upload) => isOpen(upload) && isMeant(upload)).map(({ id }) => id));
    this.#set(
      this.#uploads.map((upload) => (meant.has(upload.id) ? { ...upload, state: "cancelled" as const } : upload)),
    );
    for (const id of meant) {
      this.#underWay.get(id)?.abort();
      this.#underWay.delete(id);
    }
    this.#startWaiting();
  }

  tryAgain(id: number, mayReplace = false): void {
    this.#change(id, { state: "waiting", mayReplace, problem: null });
    this.#startWaiting();
  }

  /** Leaves out an upload that waits for a decision. */
  skip(id: number): void {
    this.#change(id, { state: "cancelled" });
  }

  clearFinished(): void {
    this.#set(this.#uploads.filter(({ state }) => state !== "done" && state !== "cancelled" && state !== "failed"));
  }

  #set(uploads: Upload<F>[]): void {
    this.#uploads = uploads;
    this.#onChange(uploads);
  }

  #change(id: number, changes: Partial<Upload<F>>): void {
    this.#set(this.#uploads.map((upload) => (upload.id === id ? { ...upload, ...changes } : upload)));
  }

  #startWaiting(): void {
    const free = UPLOADS_AT_ONCE - this.#underWay.size;
    const next = this.#uploads.filter(({ state }) => state === "waiting").slice(0, Math.max(0, free));
    for (const upload of next) void this.#send(upload);
  }

  async #send(upload: Upload<F>): Promise<void> {
    const { id, path, mayReplace, file } = upload;
    const controller = new AbortController();
    const { signal } = controller;
    this.#underWay.set(id, controller);
    this.#change(id, { state: "sending", sentBytes: 0, problem: null });
    let outcome: Partial<Upload<F>>;
    try {
      const isThere = !mayReplace && (await this.#courier.exists(path, signal));
      if (signal.aborted) return;
      if (isThere) outcome = { state: "exists" };
      else {
        await this.#courier.put(upload, (progress) => signal.aborted || this.#change(id, progress), signal);
        outcome = { state: "done", sentBytes: file.size };
      }
    } catch (error) {
      const problem = this.#courier.inWords(error);
      outcome = this.#courier.isThere(error) ? { state: "exists" } : { state: "failed", problem };
    }
    if (signal.aborted) return this.#onEnd();
    this.#underWay.delete(id);
    this.#change(id, outcome);
    this.#onEnd();
    this.#startWaiting();
  }
}

export interface UploadTotals {
  files: number;
  done: number;
  open: number;
  stuck: number;
  bytes: number;
  sentBytes: number;
}

export function totalsOf(uploads: readonly Upload<{ size: number }>[]): UploadTotals {
  const list = uploads.filter(({ state }) => state !== "cancelled");
  return {
    files: list.length,
    done: list.filter(({ state }) => state === "done").length,
    open: list.filter(isOpen).length,
    stuck: list.filter(({ state }) => state === "failed" || state === "exists").length,
    bytes: list.reduce((sum, { file }) => sum + file.size, 0),
    sentBytes: list.reduce((sum, { file, state, sentBytes }) => sum + (state === "done" ? file.size : sentBytes), 0),
  };
}
