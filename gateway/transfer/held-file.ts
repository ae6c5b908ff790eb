/** A file whose bytes are here already: a tiny one, which came with its description. */
import type { FileInfo } from "../ports/namespace.ts";
import type { ByteRange, Bytes, OpenFile } from "../ports/transfers.ts";

/** @param onRead called with how many bytes a reader takes, when it takes the last of them */
export function heldFile(file: FileInfo, ageMs: number, content: Bytes, onRead: (bytes: number) => void): OpenFile {
  const pieceOf = ({ start, endExclusive }: ByteRange): Bytes => content.subarray(start, endExclusive);
  const streamOf: OpenFile["streamRanges"] = (ranges) => {
    const pieces = ranges.map(pieceOf).filter(({ length }) => length > 0);
    const bytes = pieces.reduce((sum, { length }) => sum + length, 0);
    return new ReadableStream(
      {
        pull(controller) {
          const piece = pieces.shift();
          // A copy: who reads a stream may detach the buffers that it gave.
          if (piece) return controller.enqueue(piece.slice());
          onRead(bytes);
          controller.close();
        },
      },
      { highWaterMark: 0 },
    );
  };
  return {
    file,
    ageMs,
    bytes: async (ranges) => {
      const [only] = ranges;
      const bytes = ranges.length === 1 && only ? pieceOf(only) : Buffer.concat(ranges.map(pieceOf));
      onRead(bytes.length);
      return bytes;
    },
    stream: (start, endExclusive) => streamOf([{ start, endExclusive }]),
    streamRanges: streamOf,
  };
}
