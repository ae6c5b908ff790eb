/**
 * Streams made of streams. They are pulled on demand, so that a slow client slows its source. A cancel reaches the source at
 * once, even during a read.
 */
import type { Bytes } from "../ports/transfers.ts";

/**
 * Waits for the first piece: a failure before it can still be answered with a status.
 *
 * @param signal the client has left: the stream is cancelled
 * @throws that failure
 */
export async function begun(
  stream: ReadableStream<Uint8Array>,
  signal: AbortSignal,
): Promise<ReadableStream<Uint8Array>> {
  const reader = stream.getReader();
  const leave = () => void reader.cancel().catch(() => {});
  if (signal.aborted) leave();
  signal.addEventListener("abort", leave);
  let first: Awaited<ReturnType<typeof reader.read>> | null = await reader
    .read()
    .finally(() => signal.removeEventListener("abort", leave));
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = first ?? (await reader.read());
        first = null;
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
}

/** One part of a `multipart/byteranges` answer. */
export interface Part {
  /** Everything before the bytes, delimiter included. */
  head: Bytes;
  lengthBytes: number;
}

/** What `inParts` makes, of content that is there already. */
export function joined(parts: readonly Part[], tail: Bytes, content: Bytes): Bytes {
  const pieces: Bytes[] = [];
  let at = 0;
  for (const { head, lengthBytes } of parts) {
    pieces.push(head, content.subarray(at, at + lengthBytes));
    at += lengthBytes;
  }
  return Buffer.concat([...pieces, tail]);
}

/**
 * Puts heads between the parts of the content, and the tail behind them. No head goes out before its part has begun.
 *
 * @param content the bytes of all parts; no piece holds bytes of two
 */
export function inParts(
  parts: readonly Part[],
  tail: Bytes,
  content: ReadableStream<Uint8Array>,
): ReadableStream<Uint8Array> {
  const reader = content.getReader();
  let index = 0;
  let sentOfPart = 0;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await reader.read();
        const part = parts[index];
        if (done && part) throw new Error(`The content ended in part ${index + 1} of ${parts.length}`);
        if (done || !part) {
          controller.enqueue(tail);
          return controller.close();
        }
        if (sentOfPart === 0) controller.enqueue(part.head);
        controller.enqueue(value);
        sentOfPart += value.length;
        if (sentOfPart < part.lengthBytes) return;
        index++;
        sentOfPart = 0;
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
}
