/**
 * The response to a batch of letters. Answers of one turn of the event loop leave in one frame; a letter that takes long holds
 * up no other.
 */

import { WIRE_TYPE } from "../http/wire.ts";
import { encodeAnswers, type LetterAnswer } from "./batch-format.ts";

const HEADERS = { headers: { "content-type": WIRE_TYPE } };

export class BatchAnswer {
  /** Resolves with the first answers. */
  readonly response: Promise<Response>;
  readonly #respond: (response: Response) => void;
  #open: number;
  #ready: LetterAnswer[] = [];
  #stream: ReadableStreamDefaultController<Uint8Array> | null = null;
  #isCancelled = false;

  constructor(letterCount: number) {
    this.#open = letterCount;
    const { promise, resolve } = Promise.withResolvers<Response>();
    this.response = promise;
    this.#respond = resolve;
  }

  /** Each letter is answered once. */
  add(answer: LetterAnswer): void {
    this.#open--;
    if (this.#ready.push(answer) === 1) setImmediate(() => this.#flush());
  }

  #flush(): void {
    if (this.#isCancelled) return;
    const frame = encodeAnswers(this.#ready);
    this.#ready = [];
    if (this.#stream) this.#stream.enqueue(frame);
    else if (this.#open === 0) this.#respond(new Response(frame, HEADERS));
    else this.#respond(new Response(this.#streamFrom(frame), HEADERS));
    if (this.#open === 0) this.#stream?.close();
  }

  #streamFrom(first: Uint8Array): ReadableStream<Uint8Array> {
    return new ReadableStream<Uint8Array>({
      start: (stream) => {
        this.#stream = stream;
        stream.enqueue(first);
      },
      cancel: () => {
        this.#isCancelled = true;
      },
    });
  }
}
