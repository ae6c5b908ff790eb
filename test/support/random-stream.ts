/** Random-looking bytes of any length that need no disk and can be made again: AES-CTR over zeros. */
import { createCipheriv } from "node:crypto";

const PIECE_BYTES = 256 << 10;
const zeros = Buffer.alloc(PIECE_BYTES);

/**
 * @param onProgress told the bytes handed out so far; may wait
 * @returns the stream, and the SHA-256 of what it handed out, complete when it has ended
 */
export function randomStream(lengthBytes: number, seed: number, onProgress?: (bytes: number) => void | Promise<void>) {
  const key = Buffer.alloc(16);
  key.writeUInt32LE(seed >>> 0);
  const cipher = createCipheriv("aes-128-ctr", key, Buffer.alloc(16));
  const hasher = new Bun.CryptoHasher("sha256");
  let made = 0;
  const stream = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        if (made >= lengthBytes) return controller.close();
        const piece = cipher.update(zeros.subarray(0, Math.min(PIECE_BYTES, lengthBytes - made)));
        hasher.update(piece);
        made += piece.length;
        await onProgress?.(made);
        controller.enqueue(new Uint8Array(piece));
      },
    },
    { highWaterMark: 0 },
  );
  return { stream, sha256: () => hasher.digest("hex") };
}

export async function sha256Of(
  stream: ReadableStream<Uint8Array>,
  onProgress?: (bytes: number) => void | Promise<void>,
) {
  const hasher = new Bun.CryptoHasher("sha256");
  let bytes = 0;
  for await (const piece of stream) {
    hasher.update(piece);
    bytes += piece.length;
    await onProgress?.(bytes);
  }
  return { sha256: hasher.digest("hex"), bytes };
}
