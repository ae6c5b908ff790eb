/**
 * The gateway's line to the masters: finds the leader, asks it questions, and brings commands to effect exactly once.
 * A leader that restarts or is replaced costs the caller nothing but time.
 */

import type { ClientCommand, ValueOf } from "../../actors/messages/commands.ts";
import type { Config } from "../../actors/messages/config.ts";
import { Refusal } from "../../actors/messages/errors.ts";
import type { MasterMailbox } from "../../actors/messages/master.ts";
import type { Identity } from "../../actors/node/identity/identity.ts";
import { sharedSecret } from "../../actors/node/identity/signature.ts";
import type { AnswerOf, MessageOf } from "../../actors/node/messaging/mailbox.ts";
import { isRefusedAsNode, isRetryable, send } from "../../actors/node/messaging/outbox.ts";
import type { Consistency } from "../ports/namespace.ts";
import type { ClusterStateAnswer } from "../ports/operations.ts";
import { CommandSession, type ExecuteOptions } from "./command-session.ts";
import { firstOf } from "./first-of.ts";
import { LeaderSearch, type MessageType } from "./leader-search.ts";
import type { Patience } from "./patience.ts";

type Mailbox = typeof MasterMailbox;

const CLUSTER_STATE = { type: "CLUSTER_STATE" } as const;
/** A follower answers from memory: when one is slower than this, the next is asked beside it. */
const EVENTUAL_TIMEOUT_MS = 1000;
const NEXT_AFTER_MS = 250;
/** Questions and commands that may wait for masters at once. Beyond that, only a transfer under way is let through. */
const MAX_WAITING = 8192;

export class MasterClient {
  readonly #identity: Identity;
  readonly #search: LeaderSearch;
  readonly #session: CommandSession;
  #clusterId: string | null = null;
  #version: number | null = null;
  readonly #maxWaiting: number;
  #waitingCount = 0;

  constructor(config: Pick<Config, "masters">, gatewayId: string, secret: string, maxWaiting = MAX_WAITING) {
    this.#maxWaiting = maxWaiting;
    this.#identity = {
      nodeId: gatewayId,
      credentials: sharedSecret(gatewayId, secret),
      clusterId: () => this.#clusterId,
    };
    this.#search = new LeaderSearch(this.#identity, new Map(config.masters.map(({ id, url }) => [id, url])));
    this.#session = new CommandSession(this.#search, gatewayId, async (tries) => {
      if (this.#clusterId === null) this.#learn(await this.#search.attempt<"CLUSTER_STATE">(CLUSTER_STATE, tries));
    });
  }

  get identity(): Identity {
    return this.#identity;
  }

  /**
   * A question that may be answered from a state of some age: the masters that do not lead are asked first, in any
   * order, and the leader if none of them is fresh enough.
   *
   * @throws with `details.ageMs`, the age of the freshest state that a master could have answered from
   */
  read<T extends "STAT" | "LOCATE" | "LIST">(
    message: MessageOf<Mailbox, T> & { type: T; consistency?: Consistency },
  ): Promise<AnswerOf<Mailbox, T>> {
    if (message.consistency !== "eventual") return this.ask<T>(message);
    return this.#counted({}, async () => {
      const tries = this.#search.begin(message.type);
      const others = this.#search.urls.filter((url) => url !== this.#search.leaderUrl).sort(() => Math.random() - 0.5);
      const asked = others.map(
        (url) => () => send<Mailbox, T>(this.#identity, url, message, { timeoutMs: EVENTUAL_TIMEOUT_MS }),
      );
      const { answer, failures } = await firstOf(asked, NEXT_AFTER_MS, (error) => !passesOver(error));
      if (answer !== null) return answer;
      return this.#search.ask<T>(message, {}, tries).catch((error) => {
        throw error instanceof Refusal ? withAge(error, failures) : error;
      });
    });
  }

  /**
   * Asks the leader; asks again, here or elsewhere, until one answers.
   *
   * @throws the leader's refusal; NO_LEADER if none answered in time, or none is expected soon; OVERLOADED if too many
   *   requests of this gateway wait already
   */
  ask<T extends MessageType>(
    message: MessageOf<Mailbox, T> & { type: T },
    patience: Patience = {},
  ): Promise<AnswerOf<Mailbox, T>> {
    return this.#counted(patience, () => this.#search.ask<T>(message, patience));
  }

  /** The cluster version, as a leader last said it; null: none has been asked. */
  get version(): number | null {
    return this.#version;
  }

  /** Waits for what others wait for too; see `LeaderSearch`. */
  get search(): LeaderSearch {
    return this.#search;
  }

  /** @see CommandSession.execute; OVERLOADED also when too many wait already */
  execute<C extends ClientCommand>(command: C, options: ExecuteOptions): Promise<ValueOf<C["type"]>> {
    return this.#counted(options, () => this.#session.execute(command, options));
  }

  async #counted<T>({ underWay = false }: Patience, work: () => Promise<T>): Promise<T> {
    if (!underWay && this.#waitingCount >= this.#maxWaiting)
      throw new Refusal("OVERLOADED", `${this.#waitingCount} requests of this gateway wait for the masters already`);
    this.#waitingCount++;
    try {
      return await work();
    } finally {
      this.#waitingCount--;
    }
  }

  clusterState(patience: Patience = {}) {
    return this.#counted(patience, async () =>
      this.#learn(await this.#search.ask<"CLUSTER_STATE">(CLUSTER_STATE, patience)),
    );
  }

  #learn(state: ClusterStateAnswer): ClusterStateAnswer {
    this.#clusterId ??= state.clusterId;
    this.#version = state.version ?? 0;
    for (const { id, url } of state.masters) this.#search.masters.set(id, url);
    return state;
  }
}

/** Another master may answer all the same. */
const passesOver = (error: unknown): boolean => isRetryable(error) || isRefusedAsNode(error);

/** Adds the least of the ages with which masters refused because their state was too old. */
function withAge({ code, message, details }: Refusal, failures: readonly unknown[]): Refusal {
  const ages = failures.flatMap((error) =>
    error instanceof Refusal && typeof error.details.ageMs === "number" ? [error.details.ageMs] : [],
  );
  return new Refusal(code, message, ages.length === 0 ? details : { ...details, ageMs: Math.min(...ages) });
}
