/**
 * Whose turn it is to write to a resumable upload: the newest request's. A connection that broke may look alive for
 * minutes, so an older request never keeps a newer one out.
 */
import { Refusal } from "../../actors/messages/errors.ts";

/** What becomes of bytes that a request has received but not staged when its turn ends. */
export type Takeover = "keep" | "discard";

/** A request that is sealing its last chunk ends by itself; one that takes longer than this hangs on workers or masters. */
const PATIENCE_MS = 15_000;

export class UploadTurns {
  readonly #newest = new Map<number, Turn>();

  constructor(readonly patienceMs = PATIENCE_MS) {}

  /** The turn of a request that has just come. It may write once it has taken over; call `end` however that goes. */
  begin(uploadId: number): Turn {
    const turn = new Turn(uploadId, this.#newest.get(uploadId) ?? null, this.patienceMs);
    this.#newest.set(uploadId, turn);
    void turn.ended.then(() => {
      if (this.#newest.get(uploadId) === turn) this.#newest.delete(uploadId);
    });
    return turn;
  }

  /** Ends every turn at this upload and waits until nothing of them is under way. @throws UPLOAD_BUSY if that takes long */
  async endAll(uploadId: number, takeover: Takeover): Promise<void> {
    const turn = this.#newest.get(uploadId);
    if (!turn) return;
    turn.takeAway(takeover);
    await within(this.patienceMs, turn.ended, uploadId);
  }
}

export class Turn {
  /** Resolves when neither this turn nor an earlier one has anything under way. */
  readonly ended: Promise<void>;
  readonly #end = Promise.withResolvers<void>();
  readonly #takenAway = Promise.withResolvers<Takeover>();
  #before: Turn | null;
  #isTakenAway = false;

  constructor(
    readonly uploadId: number,
    before: Turn | null,
    readonly patienceMs: number,
  ) {
    this.#before = before;
    this.ended = Promise.all([before?.ended, this.#end.promise]).then(() => {
      this.#before = null;
    });
  }

  get isTakenAway(): boolean {
    return this.#isTakenAway;
  }

  /**
   * Ends the turns before this one and waits for them.
   *
   * @throws UPLOAD_TAKEN_OVER if a still newer request has come, UPLOAD_BUSY if the older ones take long to end
   */
  async takeOver(takeover: Takeover): Promise<void> {
    const before = this.#before;
    if (before) {
      before.takeAway(takeover);
      await Promise.race([within(this.patienceMs, before.ended, this.uploadId), this.#takenAway.promise]);
    }
    if (this.#isTakenAway) throw takenOver(this.uploadId);
  }

  /** Ends this turn and those before it, for a newer request. What the first such request wanted counts. */
  takeAway(takeover: Takeover): void {
    this.#isTakenAway = true;
    this.#takenAway.resolve(takeover);
    this.#before?.takeAway(takeover);
  }

  onTakenAway(stop: (takeover: Takeover) => void): void {
    void this.#takenAway.promise.then(stop);
  }

  end(): void {
    this.#end.resolve();
  }
}

export const takenOver = (uploadId: number, details: Record<string, unknown> = {}): Refusal =>
  new Refusal("UPLOAD_TAKEN_OVER", `A newer request has taken upload ${uploadId} over`, { uploadId, ...details });

async function within(patienceMs: number, ended: Promise<void>, uploadId: number): Promise<void> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () =>
      reject(
        new Refusal("UPLOAD_BUSY", `The request that wrote to upload ${uploadId} has not ended yet`, { uploadId }),
      ),
    patienceMs,
  );
  try {
    await Promise.race([ended, promise]);
  } finally {
    clearTimeout(timer);
  }
}
