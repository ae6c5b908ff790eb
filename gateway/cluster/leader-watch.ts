/**
 * A leader that is frozen, or behind a cut link, takes a question and never answers. What has waited for it for a while
 * makes us ask the other masters; once one of them leads, everything that waits is given up, to be sent there.
 */

export const SLOW_AFTER_MS = 750;
const LOOK_EVERY_MS = 250;

/** A question under way to one master. */
interface Waiting {
  url: string;
  since: number;
  given: AbortController;
}

export class LeaderWatch {
  readonly #findLeader: (except: string) => Promise<string | null>;
  readonly #moved: (url: string) => void;
  readonly #waiting = new Set<Waiting>();
  #timer: Timer | null = null;

  /**
   * @param findLeader asks all masters but one, and returns the URL of the one that leads by its own account
   * @param moved hears of it before anything is given up
   */
  constructor(findLeader: (except: string) => Promise<string | null>, moved: (url: string) => void) {
    this.#findLeader = findLeader;
    this.#moved = moved;
  }

  /** Runs `ask`, whose signal fires when the master that it asks does not answer, and another one leads. */
  async over<T>(url: string, ask: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const waiting = { url, since: performance.now(), given: new AbortController() };
    this.#waiting.add(waiting);
    this.#timer ??= setTimeout(this.#look, SLOW_AFTER_MS);
    try {
      return await ask(waiting.given.signal);
    } finally {
      this.#waiting.delete(waiting);
    }
  }

  readonly #look = async (): Promise<void> => {
    const slow = [...this.#waiting].filter(({ since }) => performance.now() - since >= SLOW_AFTER_MS);
    for (const [url, theirs] of Map.groupBy(slow, (waiting) => waiting.url)) {
      const leader = await this.#findLeader(url);
      if (leader === null) continue;
      this.#moved(leader);
      for (const { given } of theirs) given.abort();
    }
    this.#timer = this.#waiting.size > 0 ? setTimeout(this.#look, LOOK_EVERY_MS) : null;
  };
}
