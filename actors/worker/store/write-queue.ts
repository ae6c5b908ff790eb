/** Lets a few blocks be written at a time, for there is one disk and few threads; the others wait in line. */
import { Refusal } from "../../messages/errors.ts";

/** More do not make a disk faster, and keep the runtime's threads from all other files. */
const MOST_AT_ONCE = 4;
/** More than the routes and orders of a worker let in together. */
const MOST_WAITING = 4096;

export class WriteQueue {
  #writing = 0;
  readonly #waiting: (() => void)[] = [];

  /** @returns what `write` does, once its turn has come. @throws OVERLOADED */
  async run<T>(write: () => Promise<T>): Promise<T> {
    if (this.#writing < MOST_AT_ONCE) this.#writing++;
    else {
      if (this.#waiting.length >= MOST_WAITING)
        throw new Refusal("OVERLOADED", `${this.#waiting.length} blocks wait for the disk here`);
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
    try {
      return await write();
    } finally {
      const next = this.#waiting.shift();
      if (next) next();
      else this.#writing--;
    }
  }
}
