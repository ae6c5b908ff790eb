/** Bodies to put and ways to read them back. */
import type { Services } from "../../gateway/ports/backend.ts";

/** Bytes that look random and are the same each time. */
export function sampleBytes(lengthBytes: number, seed = 1): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(lengthBytes);
  let state = seed;
  for (let n = 0; n < lengthBytes; n++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    bytes[n] = state >>> 24;
  }
  return bytes;
}

/** A body that arrives in pieces; `before` runs ahead of each and may wait or throw. */
export function bodyOf(
  bytes: Uint8Array<ArrayBuffer>,
  { pieceBytes = 3000, before }: { pieceBytes?: number; before?: (offset: number) => void | Promise<void> } = {},
): ReadableStream<Uint8Array> {
  let offset = 0;
  return new ReadableStream({
    async pull(controller) {
      try {
        await before?.(offset);
      } catch (error) {
        controller.error(error);
        return;
      }
      if (offset >= bytes.length) controller.close();
      else controller.enqueue(bytes.slice(offset, offset + pieceBytes));
      offset += pieceBytes;
    },
  });
}

export async function readBack(data: Services, path: string, start = 0, end?: number): Promise<Uint8Array> {
  const { file, stream } = await data.transfers.openFile(path);
  return new Uint8Array(await new Response(stream(start, end ?? file.sizeBytes)).arrayBuffer());
}

/** The whole body of an answer, taken as a server sends it: a piece's memory is given back when the next is pulled. */
export async function bytesOf(response: Response): Promise<Buffer> {
  const pieces: Uint8Array[] = [];
  for await (const piece of response.body ?? []) pieces.push(piece.slice());
  return Buffer.concat(pieces);
}
