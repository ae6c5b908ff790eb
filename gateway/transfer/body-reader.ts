/** Reads a request's body into buffers of any size, however long its pieces are. */
import { Refusal } from "../../actors/messages/errors.ts";

const NOTHING = new Uint8Array(0);
/** Empty pieces in a row that are taken for a fault: no client's network makes any. */
const MOST_EMPTY_PIECES = 1000;

export class BodyReader {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array> | null;
  #piece: Uint8Array = NOTHING;
  /** The rest of the current piece. */
  #rest: Uint8Array = NOTHING;
  /** Read by `peek`, and not come to yet. */
  readonly #ahead: Uint8Array[] = [];
  #ended: boolean;
  readonly #failed = new AbortController();
  #failure: Error | null = null;
  #readBytes = 0;
  /** Called with how many bytes more, or less, the pieces in memory hold. */
  onHeld: (bytes: number) => void = () => {};

  /**
   * @param lengthBytes what the client announced, or undefined
   * @param signal fires when the client has gone
   * @param silentAfterMs a client that sends nothing for this long counts as gone. Left out: no limit
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
  /** Fires when the body gives no more: the client has gone, or `fail` was called. */
  get failed(): AbortSignal {
    return this.#failed.signal;
  }

  /**
   * Looks at a short body before anything of it is taken.
   *
   * @returns all of it; null if it is longer than `mostBytes`
   * @throws as `fill`
   */
  async peek(mostBytes: number): Promise<Uint8Array | null> {
    let bytes = 0;
    for (let pieces = 0; bytes <= mostBytes && !this.#ended; pieces++) {
      const piece = await this.#next(pieces);
      if (!piece) continue;
      this.#ahead.push(piece);
      bytes += piece.length;
    }
    this.#checkLength(bytes);
    if (bytes > mostBytes) return null;
    return this.#ahead.length === 1 ? (this.#ahead[0] as Uint8Array) : Buffer.concat(this.#ahead);
  }

  /**
   * Fills the buffer as far as the body goes: less than all of it only at the body's end.
   *
   * @param filled called with the bytes just filled in, also with those before an error
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

  /** Stops reading: a `fill` that waits ends with this error. */
  fail(error: Error): void {
    if (this.#failure) return;
    this.#failure = error;
    this.#failed.abort(error);
    this.#reader?.cancel(error).catch(() => {});
  }

  /** Call it at the end, however the reading went. */
  release(): void {
    this.signal?.removeEventListener("abort", this.#clientGone);
    if (!this.#ended) this.fail(new Refusal("BODY_INCOMPLETE", "The body is not wanted any more"));
    if (this.#piece.length > 0) this.#freePiece();
  }

  readonly #clientGone = () => this.fail(new Refusal("BODY_INCOMPLETE", "The client went away before the body's end"));

  async #more(): Promise<boolean> {
    for (let pieces = 0; this.#rest.length === 0 && (this.#ahead.length > 0 || !this.#ended); pieces++) {
      const value = this.#ahead.shift() ?? (await this.#next(pieces));
      if (!value) continue;
      this.#piece = this.#rest = value;
      this.onHeld(value.length);
    }
    this.#checkLength(this.#readBytes + this.#rest.length, this.#rest.length === 0);
    return this.#rest.length > 0;
  }

  /** @param pieces how many came before it that were empty. @returns nothing at the body's end */
  async #next(pieces: number): Promise<Uint8Array | undefined> {
    if (pieces > MOST_EMPTY_PIECES) throw new Refusal("INVALID_BODY", "The body comes in empty pieces");
    if (this.signal?.aborted) this.#clientGone();
    if (this.#failure) throw this.#failure;
    const { done, value } = await this.#read();
    if (this.#failure) throw this.#failure;
    this.#ended = done;
    return value;
  }

  /** @param known bytes of it that have come. @throws INVALID_BODY, BODY_INCOMPLETE */
  #checkLength(known: number, isAll = this.#ended): void {
    const { lengthBytes } = this;
    if (lengthBytes === undefined) return;
    if (known > lengthBytes)
      throw new Refusal("INVALID_BODY", `The body is longer than the ${lengthBytes} bytes announced`);
    if (isAll && known < lengthBytes)
      throw new Refusal("BODY_INCOMPLETE", `The body ended after ${known} of ${lengthBytes} bytes`, {
        received: known,
        announced: lengthBytes,
      });
  }

  /**
   * Frees the memory of a used-up piece at once. The garbage collector would come hundreds of megabytes later at full
   * speed. A piece of a larger buffer is left alone.
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
