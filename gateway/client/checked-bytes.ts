/** CRC-32 of bytes while they pass. */
import { combineCrc32 } from "../../actors/rules/crc32.ts";

const MARK_EVERY_BYTES = 16 << 20;

/**
 * A running CRC-32 from the start of a file to `position`, which can go back: to go on from an earlier offset, only the
 * bytes since the mark before it are read again.
 */
export class RunningCrc32 {
  crc32 = 0;
  position = 0;
  #marks: { position: number; crc32: number }[] = [{ position: 0, crc32: 0 }];

  update(bytes: Uint8Array): void {
    this.crc32 = combineCrc32(this.crc32, Bun.hash.crc32(bytes), bytes.length);
    this.position += bytes.length;
    if (this.position - (this.#marks.at(-1)?.position ?? 0) >= MARK_EVERY_BYTES)
      this.#marks.push({ position: this.position, crc32: this.crc32 });
  }

  /** Moves to `offset`, reading from `source` what lies between it and the nearest mark before. */
  async seek(offset: number, source: Blob): Promise<void> {
    if (this.position > offset) {
      while ((this.#marks.at(-1)?.position ?? 0) > offset) this.#marks.pop();
      const mark = this.#marks.at(-1) ?? { position: 0, crc32: 0 };
      this.position = mark.position;
      this.crc32 = mark.crc32;
    }
    if (this.position < offset)
      for await (const bytes of source.slice(this.position, offset).stream()) this.update(bytes);
  }
}

/** Passes bytes through one by one, telling `see` of each piece. Pulls only when pulled: back-pressure is kept. */
export function observed(
  source: ReadableStream<Uint8Array>,
  see: (bytes: Uint8Array) => void,
): ReadableStream<Uint8Array<ArrayBuffer>> {
  const reader = source.getReader();
  return new ReadableStream(
    {
      async pull(controller) {
        const { done, value } = await reader.read();
        if (done) return controller.close();
        see(value);
        controller.enqueue(value as Uint8Array<ArrayBuffer>);
      },
      cancel: (reason) => reader.cancel(reason),
    },
    { highWaterMark: 0 },
  );
}
