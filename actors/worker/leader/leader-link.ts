/** The way to the leader: asks the masters in turn, follows their hints, and remembers which one answered last. */
import { Refusal } from "../../messages/errors.ts";
import type { MasterMailbox } from "../../messages/master.ts";
import type { Identity } from "../../node/identity/identity.ts";
import type { AnswerOf, MessageOf } from "../../node/messaging/mailbox.ts";
import { isRetryable, send } from "../../node/messaging/outbox.ts";

export class LeaderLink {
  readonly #identity: Identity;
  readonly #masters: readonly string[];
  readonly #now: () => number;
  #url: string;
  #heardAt: number;
  /** As `#heardAt`, before the latest answer. */
  #trustedAt: number;

  constructor(identity: Identity, masterUrls: readonly string[], now: () => number = Date.now) {
    const [first] = masterUrls;
    if (first === undefined) throw new Error("config.json lists at least one master");
    this.#identity = identity;
    this.#masters = masterUrls;
    this.#now = now;
    this.#url = first;
    this.#heardAt = now();
    this.#trustedAt = this.#heardAt;
  }

  /** Since a leader last answered, be it with a refusal. */
  get silentMs(): number {
    return this.#now() - this.#heardAt;
  }

  /**
   * Asks the leader, going once around the masters to find it.
   *
   * @throws the leader's refusal; or, if none leads, the last refusal or failure on the way
   */
  async ask<T extends keyof typeof MasterMailbox & string>(
    message: MessageOf<typeof MasterMailbox, T> & { type: T },
    timeoutMs: number,
  ): Promise<AnswerOf<typeof MasterMailbox, T>> {
    let last: unknown;
    const tried = new Set<string>();
    for (let next: string | undefined = this.#url; next !== undefined; ) {
      tried.add(next);
      try {
        const answer = await send<typeof MasterMailbox, T>(this.#identity, next, message, { timeoutMs });
        this.#answered(next);
        return answer;
      } catch (error) {
        last = error;
        if (!isRetryable(error)) {
          if (error instanceof Refusal) this.#answered(next);
          throw error;
        }
        const hint = error instanceof Refusal && error.code === "NOT_LEADER" ? error.details.leaderUrl : undefined;
        next = typeof hint === "string" && !tried.has(hint) ? hint : this.#masters.find((master) => !tried.has(master));
      }
    }
    throw last;
  }

  /** The master that answered last is deposed: another is asked next, and that answer is no sign of a leader's life. */
  distrust(): void {
    const at = this.#masters.indexOf(this.#url);
    this.#url = this.#masters[(at + 1) % this.#masters.length] as string;
    this.#heardAt = this.#trustedAt;
  }

  #answered(url: string): void {
    this.#url = url;
    this.#trustedAt = this.#heardAt;
    this.#heardAt = this.#now();
  }
}
