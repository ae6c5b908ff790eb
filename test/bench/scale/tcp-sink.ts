/**
 * For scale: the end of a bare TCP fan-out. Takes a length and that many bytes from each connection, writes them in
 * blocks and flushes every 16 MiB and at the end, as a worker does, and answers one byte when all of it is on disk.
 *
 *     bun tcp-sink.ts <file>
 */
import { closeSync, fdatasync, openSync, rmSync, write } from "node:fs";
import { promisify } from "node:util";
import type { Socket } from "bun";
import { LENGTH_BYTES } from "./tcp-frame.ts";

const BLOCK_BYTES = 512 << 10;
const FLUSH_BYTES = 16 << 20;
/** Blocks taken in and not yet written; above, the sender waits. */
const MAX_WAITING = 8;
const writeAsync = promisify(write);
const flush = promisify(fdatasync);

const path = process.argv[2] as string;

class Sink {
  readonly #file = openSync(path, "w", 0o600);
  #lengthBytes = Number.NaN;
  #takenBytes = 0;
  #writtenBytes = 0;
  #unflushedBytes = 0;
  #block = Buffer.allocUnsafe(BLOCK_BYTES);
  #filled = 0;
  readonly #waiting: Buffer<ArrayBuffer>[] = [];
  readonly #spare: Buffer<ArrayBuffer>[] = [];
  #writing = false;
  #flushing: Promise<void> = Promise.resolve();

  constructor(readonly socket: Socket<Sink>) {}

  take(bytes: Buffer): void {
    let at = 0;
    if (Number.isNaN(this.#lengthBytes)) {
      this.#lengthBytes = Number(bytes.readBigUInt64LE(0));
      at = LENGTH_BYTES;
    }
    while (at < bytes.length) {
      const copied = bytes.copy(this.#block, this.#filled, at);
      at += copied;
      this.#filled += copied;
      this.#takenBytes += copied;
      if (this.#filled === BLOCK_BYTES || this.#takenBytes === this.#lengthBytes) this.#blockIsFull();
    }
    if (this.#waiting.length > MAX_WAITING) this.socket.pause();
  }

  #blockIsFull(): void {
    this.#waiting.push(this.#block.subarray(0, this.#filled));
    this.#block = this.#spare.pop() ?? Buffer.allocUnsafe(BLOCK_BYTES);
    this.#filled = 0;
    if (!this.#writing) void this.#write();
  }

  async #write(): Promise<void> {
    this.#writing = true;
    for (let block = this.#waiting.shift(); block; block = this.#waiting.shift()) {
      await writeAsync(this.#file, block, 0, block.length, this.#writtenBytes);
      this.#writtenBytes += block.length;
      this.#unflushedBytes += block.length;
      if (block.length === BLOCK_BYTES) this.#spare.push(block);
      if (this.#unflushedBytes >= FLUSH_BYTES) {
        this.#unflushedBytes = 0;
        this.#flushing = this.#flushing.then(() => flush(this.#file));
      }
      if (this.#waiting.length < MAX_WAITING / 2) this.socket.resume();
    }
    this.#writing = false;
    if (this.#writtenBytes !== this.#lengthBytes) return;
    await this.#flushing;
    await flush(this.#file);
    closeSync(this.#file);
    this.socket.write(new Uint8Array(1));
  }
}

const server = Bun.listen<Sink>({
  hostname: "127.0.0.1",
  port: 0,
  socket: {
    open(socket) {
      socket.data = new Sink(socket);
    },
    data: (socket, bytes) => socket.data.take(bytes),
  },
});
process.on("exit", () => rmSync(path, { force: true }));
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(0));
process.stdin.on("end", () => process.exit(0)).resume();
console.log(server.port);
