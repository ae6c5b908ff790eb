/**
 * A leader as workers see it, for tests of what a worker makes of an answer: it takes registrations, heartbeats and
 * inventories, and answers as the test says. What it answers otherwise is what a leader does, see
 * `test/worker/leader-behaviour.test.ts`.
 */

import { Elysia } from "elysia";
import { Refusal } from "../../actors/messages/errors.ts";
import { MasterMailbox } from "../../actors/messages/master.ts";
import { listenOptions, SERVER_OPTIONS } from "../../actors/node/http/server-options.ts";
import { sharedSecret } from "../../actors/node/identity/signature.ts";
import { createLogger } from "../../actors/node/log.ts";
import { type AnswerOf, type Handlers, type MessageOf, mailbox } from "../../actors/node/messaging/mailbox.ts";

type Mailbox = typeof MasterMailbox;
type Message<T extends keyof Mailbox> = MessageOf<Mailbox, T>;
type Answer<T extends keyof Mailbox> = AnswerOf<Mailbox, T>;

export class StandInMaster {
  term = 1;
  readonly registrations: Message<"REGISTER">[] = [];
  readonly heartbeats: Message<"HEARTBEAT">[] = [];
  readonly reconciliations: Message<"RECONCILE">[] = [];
  /** Replace one to answer differently. */
  readonly answers: {
    register(message: Message<"REGISTER">): Answer<"REGISTER">;
    heartbeat(message: Message<"HEARTBEAT">): Answer<"HEARTBEAT">;
    reconcile(message: Message<"RECONCILE">): Answer<"RECONCILE">;
  } = {
    register: (message) => this.#register(message),
    heartbeat: (message) => this.#heartbeat(message),
    reconcile: () => ({ match: true, trash: [], decidedAt: 1, adopted: 0, missing: 0 }),
  };
  /** In which term each worker has registered. */
  readonly #registered = new Map<string, number>();
  readonly #clusterId: string;
  readonly #app: { stop(closeActive?: boolean): Promise<unknown> };

  constructor(
    readonly url: string,
    secret: string,
    clusterId = "cluster-of-the-test",
  ) {
    this.#clusterId = clusterId;
    const identity = { nodeId: "master-1", credentials: sharedSecret("master-1", secret), clusterId: () => clusterId };
    const log = createLogger("master-1", "silent");
    const app = new Elysia(SERVER_OPTIONS).use(mailbox(MasterMailbox, this.#handlers(), identity, log));
    app.listen(listenOptions(url));
    this.#app = app;
  }

  async stop(): Promise<void> {
    await this.#app.stop(true);
  }

  #handlers(): Handlers<Mailbox> {
    const notHere = () => {
      throw new Refusal("NOT_READY", "The stand-in master knows workers only");
    };
    const others = Object.fromEntries(Object.keys(MasterMailbox).map((type) => [type, notHere]));
    return {
      ...(others as unknown as Handlers<Mailbox>),
      REGISTER: (message) => {
        this.registrations.push(message);
        return this.answers.register(message);
      },
      HEARTBEAT: (message) => {
        this.heartbeats.push(message);
        return this.answers.heartbeat(message);
      },
      RECONCILE: (message) => {
        this.reconciliations.push(message);
        return this.answers.reconcile(message);
      },
    };
  }

  #register({ workerId, clusterId }: Message<"REGISTER">): Answer<"REGISTER"> {
    if (clusterId !== null && clusterId !== this.#clusterId)
      throw new Refusal("WRONG_CLUSTER", `${workerId} holds data of cluster ${clusterId}; this is ${this.#clusterId}`);
    this.#registered.set(workerId, this.term);
    return { clusterId: this.#clusterId, term: this.term, heartbeatMs: 50, mode: "active", leaderTimeMs: 0 };
  }

  #heartbeat({ workerId, badReplicas }: Message<"HEARTBEAT">): Answer<"HEARTBEAT"> {
    if (this.#registered.get(workerId) !== this.term)
      throw new Refusal("UNKNOWN_WORKER", `${workerId} has to register first`);
    const acknowledged = badReplicas.map(({ chunkId }) => chunkId);
    return { term: this.term, mode: "active", leaderTimeMs: 0, acknowledged, discard: [] };
  }
}
