/** Streams made of streams, pulled on demand so that a slow client holds its reader back. */
import type { Bytes } from "../data-path-api.ts";

/** Reads on demand, buffers nothing. */
export function streamOf(chunks: AsyncGenerator<Uint8Array, void, unknown>): ReadableStream<Uint8Array> {
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await chunks.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      async cancel() {
        await chunks.return(undefined);
      },
    },
    { highWaterMark: 0 },
  );
}

/** Waits until the first piece is there: what fails before can still be told. @throws that failure */
export async function begun(stream: ReadableStream<Uint8Array>): Promise<ReadableStream<Uint8Array>> {
  const reader = stream.getReader();
  let first: Awaited<ReturnType<typeof reader.read>> | null = await reader.read();
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
  open: () => ReadableStream<Uint8Array>;
}

/** Sends heads and parts one after another; the next part is opened when the one before has been sent, and begun before its head. */
export async function* inTurn(parts: Part[], tail: Bytes): AsyncGenerator<Uint8Array, void, unknown> {
  for (const { head, open } of parts) {
    const part = await begun(open());
    yield head;
    yield* part;
  }
  yield tail;
}
