/** Makes names in a directory durable. Callers who ask while a flush is under way share the next one. */
import { close, fsync, open } from "node:fs";
import { promisify } from "node:util";

const fsyncAsync = promisify(fsync);
const openAsync = promisify(open);
const closeAsync = promisify(close);

export class DirectorySync {
  #running = new Map<string, Promise<void>>();
  #next = new Map<string, Promise<void>>();

  sync(directory: string): Promise<void> {
    const running = this.#running.get(directory);
    if (!running) return this.#start(directory);
    let next = this.#next.get(directory);
    if (!next) {
      next = running
        .catch(() => {})
        .then(() => {
          this.#next.delete(directory);
          return this.#start(directory);
        });
      this.#next.set(directory, next);
    }
    return next;
  }

  #start(directory: string): Promise<void> {
    const done = syncDirectory(directory).finally(() => this.#running.delete(directory));
    this.#running.set(directory, done);
    return done;
  }
}

async function syncDirectory(directory: string): Promise<void> {
  const file = await openAsync(directory, "r");
  try {
    await fsyncAsync(file);
  } finally {
    await closeAsync(file);
  }
}
