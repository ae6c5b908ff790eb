/** Who leads the masters: whatever is asked goes to the one that is held for the leader, and on to others until one answers. */
import { Refusal } from "../../actors/messages/errors.ts";
import type { MasterMailbox } from "../../actors/messages/master.ts";
import type { AnswerOf, Identity, MessageOf } from "../../actors/node/mailbox.ts";
import { isRetryable, send } from "../../actors/node/outbox.ts";
import { LeaderWatch } from "./leader-watch.ts";
import { leaderAmong } from "./master-group.ts";

type Mailbox = typeof MasterMailbox;
export type MessageType = keyof Mailbox & string;

const ATTEMPT_TIMEOUT_MS = 5000;
const QUERY_BUDGET_MS = 10_000;
export const COMMAND_BUDGET_MS = 15_000;
/** No master even takes the connection: long enough for one that is being restarted, short enough for a person. */
const REFUSED_BUDGET_MS = 3000;
const MAX_HINTS = 3;
const BACKOFF_MS = { first: 50, most: 150 };

export interface Patience {
  /** Try no longer than this. */
  budgetMs?: number;
  /** A transfer depends on it that has begun: masters that refuse connections are waited for as long as others. */
  underWay?: boolean;
}

/** Whoever was reached has certainly not taken the message. */
export class NeverTaken extends Refusal {
  constructor(type: string, triedMs: number, last: Refusal) {
    super("NO_LEADER", `No master took ${type} within ${Math.round(triedMs)} ms: ${last.message}`);
  }
}

export class LeaderSearch {
  readonly #identity: Identity;
  /** By id: those of config.json, and those that joined since. */
  readonly masters: Map<string, string>;
  readonly #leaderWatch = new LeaderWatch(
    (except) =>
      leaderAmong(
        this.#identity,
        this.urls.filter((url) => url !== except),
      ),
    (url) => {
      this.#leaderUrl = url;
    },
  );
  #leaderUrl: string;

  constructor(identity: Identity, masters: ReadonlyMap<string, string>) {
    this.#identity = identity;
    this.masters = new Map(masters);
    this.#leaderUrl = this.urls[0] as string;
  }

  get urls(): string[] {
    return [...new Set(this.masters.values())];
  }

  get leaderUrl(): string {
    return this.#leaderUrl;
  }

  /**
   * Asks the leader; asks again, here or elsewhere, until one answers.
   *
   * @throws the leader's refusal, or NO_LEADER when none answered within `budgetMs`, or all refused the connection for
   *   some seconds
   */
  async ask<T extends MessageType>(
    message: MessageOf<Mailbox, T> & { type: T },
    { underWay = false, budgetMs = underWay ? COMMAND_BUDGET_MS : QUERY_BUDGET_MS }: Patience,
  ): Promise<AnswerOf<Mailbox, T>> {
    try {
      return await this.persist<T>(() => message, budgetMs, underWay);
    } catch (error) {
      if (error instanceof NeverTaken) throw error;
      if (isRetryable(error) && (error as Refusal).code !== "OVERLOADED")
        throw new Refusal("NO_LEADER", `No master answered within ${budgetMs} ms: ${(error as Error).message}`);
      throw error;
    }
  }

  async persist<T extends MessageType>(
    message: () => MessageOf<Mailbox, T> & { type: T },
    budgetMs: number,
    underWay: boolean,
  ): Promise<AnswerOf<Mailbox, T>> {
    const startedAt = performance.now();
    const deadline = startedAt + budgetMs;
    /** Masters that refused the connection: as long as nothing else happened, there is little to wait for. */
    const refusedBy = new Set<string>();
    let hasAnswered = false;
    /** The last failure after which a master may have taken the message all the same. */
    let unclear: unknown = null;
    let pauseMs = BACKOFF_MS.first;
    for (let hints = 0; ; ) {
      const url = this.#leaderUrl;
      const leftMs = Math.max(deadline - performance.now(), 1);
      try {
        const timeoutMs = Math.min(ATTEMPT_TIMEOUT_MS, leftMs);
        return await this.#leaderWatch.over(url, (signal) =>
          send<Mailbox, T>(this.#identity, url, message(), { timeoutMs, signal }),
        );
      } catch (error) {
        if (!isRetryable(error)) throw error;
        const { code, details } = error as Refusal;
        if (details.connectionRefused) refusedBy.add(url);
        else hasAnswered = true;
        if (!details.connectionRefused && !details.notTaken && code !== "OVERLOADED") unclear = error;
        if (code === "NOT_LEADER" && typeof details.leaderUrl === "string" && hints < MAX_HINTS) {
          hints++;
          this.#leaderUrl = details.leaderUrl;
          continue;
        }
        hints = 0;
        const waitMs = pauseMs * (0.5 + Math.random());
        const isNobodyThere = !hasAnswered && this.urls.every((known) => refusedBy.has(known));
        const limit = isNobodyThere && !underWay ? Math.min(deadline, startedAt + REFUSED_BUDGET_MS) : deadline;
        if (performance.now() + waitMs >= limit) {
          if (unclear !== null || code === "OVERLOADED") throw unclear ?? error;
          throw new NeverTaken(message().type, performance.now() - startedAt, error as Refusal);
        }
        if (this.#leaderUrl === url && code !== "OVERLOADED") this.#leaderUrl = this.#anotherUrl(url);
        await Bun.sleep(waitMs);
        pauseMs = Math.min(pauseMs * 2, BACKOFF_MS.most);
      }
    }
  }

  #anotherUrl(url: string): string {
    const others = this.urls.filter((other) => other !== url);
    return others[Math.floor(Math.random() * others.length)] ?? url;
  }
}
