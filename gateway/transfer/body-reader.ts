/** Takes a request's body in pieces of our choosing. */
import { Refusal } from "../../actors/messages/errors.ts";

const NOTHING = new Uint8Array(0);
/** So many pieces without a byte, one after the other, are no body: no client's network makes any. */
const MOST_EMPTY_PIECES = 1000;

export class BodyReader {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array> | null;
  #piece: Uint8Array = NOTHING;
  /** What is not taken yet of the piece. */
  #rest: Uint8Array = NOTHING;
  #ended: boolean;
  readonly #failed = new AbortController();
  #failure: Error | null = null;
  #readBytes = 0;
  /** Told how much longer the pieces in memory are, or shorter. */
  onHeld: (bytes: number) => void = () => {};

  /**
   * @param lengthBytes what the client announced, or undefined
   * @param signal fires when the client has gone
   * @param silentAfterMs a client that sends nothing for so long counts as gone; left out: it may be silent for ever
   */
  constructor(
    body: ReadableStream<Uint8Array> | null,
    readonly lengthBytes: number | undefined,
    readonly signal: AbortSignal | undefined,
    readonly silentAfterMs?: number,
  ) {
    this.#reader = body?.getReader() ?? null;
    this.#ended = body === null;
    signal?.addEventListener("abort", this.#clientGone);
  }

  get readBytes(): number {
    return this.#readBytes;
  }
  /** Bytes that are here and not taken yet. */
  get atHandBytes(): number {
    return this.#rest.length;
  }
  /** Fires when no more is to be had of the body: the client has gone, or we do not want more. */
  get failed(): AbortSignal {
    return this.#failed.signal;
  }

  /**
   * Fills the buffer as far as the body goes: less than all of it only at the body's end.
   *
   * @param filled told of bytes as they are filled in, also of those before an error
   * @throws BODY_INCOMPLETE if the body broke off, INVALID_BODY if it is longer than announced
   */
  async fill(buffer: Uint8Array, filled: (bytes: number) => void): Promise<void> {
    for (let at = 0; at < buffer.length && (await this.#more()); ) {
      const piece = this.#rest.subarray(0, buffer.length - at);
      const { length } = piece;
      buffer.set(piece, at);
      at += length;
      this.#readBytes += length;
      this.#rest = this.#rest.subarray(length);
      if (this.#rest.length === 0) this.#freePiece();
      filled(length);
    }
  }

  /** Whether the body has ended; waits for its next piece to know. @throws as `fill` */
  async atEnd(): Promise<boolean> {
    return !(await this.#more());
  }

  /** Takes no more of the body: what waits in `fill` ends with this error. */
  fail(error: Error): void {
    if (this.#failure) return;
    this.#failure = error;
    this.#failed.abort(error);
    this.#reader?.cancel(error).catch(() => {});
  }

  /** To be called when done with the body, however it went. */
  release(): void {
    this.signal?.removeEventListener("abort", this.#clientGone);
    if (!this.#ended) this.fail(new Refusal("BODY_INCOMPLETE", "The body is not wanted any more"));
    if (this.#piece.length > 0) this.#freePiece();
  }

  readonly #clientGone = () => this.fail(new Refusal("BODY_INCOMPLETE", "The client went away before the body's end"));

  async #more(): Promise<boolean> {
    for (let pieces = 0; this.#rest.length === 0 && !this.#ended; pieces++) {
      if (pieces > MOST_EMPTY_PIECES) throw new Refusal("INVALID_BODY", "The body comes in empty pieces");
      if (this.signal?.aborted) this.#clientGone();
      if (this.#failure) throw this.#failure;
      const { done, value } = await this.#read();
      if (this.#failure) throw this.#failure;
      this.#ended = done;
      if (!value) continue;
      this.#piece = this.#rest = value;
      this.onHeld(value.length);
    }
    const { lengthBytes } = this;
    const known = this.#readBytes + this.#rest.length;
    if (lengthBytes !== undefined && known > lengthBytes)
      throw new Refusal("INVALID_BODY", `The body is longer than the ${lengthBytes} bytes announced`);
    if (this.#rest.length > 0) return true;
    if (lengthBytes !== undefined && known < lengthBytes)
      throw new Refusal("BODY_INCOMPLETE", `The body ended after ${known} of ${lengthBytes} bytes`, {
        received: known,
        announced: lengthBytes,
      });
    return false;
  }

  /**
   * Gives a used-up piece's memory back now and not when the collector comes round: at full speed that is hundreds of
   * megabytes later. A piece of a larger buffer is somebody else's.
   */
  #freePiece(): void {
    const { buffer, byteLength } = this.#piece;
    this.onHeld(-byteLength);
    if (buffer instanceof ArrayBuffer && byteLength === buffer.byteLength) buffer.transfer(0);
    this.#piece = this.#rest = NOTHING;
  }

  async #read(): Promise<{ done: boolean; value?: Uint8Array }> {
    const { silentAfterMs } = this;
    const silence =
      silentAfterMs === undefined ? undefined : setTimeout(() => this.#silent(silentAfterMs), silentAfterMs);
    try {
      return (await this.#reader?.read()) ?? { done: true };
    } catch (cause) {
      if (this.#failure) throw this.#failure;
      throw new Refusal("BODY_INCOMPLETE", `The body broke off after ${this.#readBytes} bytes: ${cause}`);
    } finally {
      clearTimeout(silence);
    }
  }

  #silent(forMs: number): void {
    this.fail(new Refusal("BODY_INCOMPLETE", `The client sent nothing for ${forMs} ms`));
  }
}
