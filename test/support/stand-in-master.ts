/** A master as workers see it: takes registrations, heartbeats and inventories, and answers as the test says. */

import { Elysia } from "elysia";
import { Refusal } from "../../actors/messages/errors.ts";
import { MasterMailbox } from "../../actors/messages/master.ts";
import { listenOptions, SERVER_OPTIONS } from "../../actors/node/http/server-options.ts";
import { sharedSecret } from "../../actors/node/identity/signature.ts";
import { createLogger } from "../../actors/node/log.ts";
import { type AnswerOf, type Handlers, type MessageOf, mailbox } from "../../actors/node/messaging/mailbox.ts";

type Mailbox = typeof MasterMailbox;

export interface StandInMaster {
  url: string;
  term: number;
  registrations: MessageOf<Mailbox, "REGISTER">[];
  heartbeats: MessageOf<Mailbox, "HEARTBEAT">[];
  reconciliations: MessageOf<Mailbox, "RECONCILE">[];
  /** Replace one to answer differently. */
  answers: {
    register(message: MessageOf<Mailbox, "REGISTER">): AnswerOf<Mailbox, "REGISTER">;
    heartbeat(message: MessageOf<Mailbox, "HEARTBEAT">): AnswerOf<Mailbox, "HEARTBEAT">;
    reconcile(message: MessageOf<Mailbox, "RECONCILE">): AnswerOf<Mailbox, "RECONCILE">;
  };
  stop(): Promise<void>;
}

export function startStandInMaster(url: string, secret: string, clusterId = "cluster-of-the-test"): StandInMaster {
  const notHere = () => {
    throw new Refusal("NOT_READY", "The stand-in master knows workers only");
  };
  const master: StandInMaster = {
    url,
    term: 1,
    registrations: [],
    heartbeats: [],
    reconciliations: [],
    answers: {
      register: () => ({ clusterId, term: master.term, heartbeatMs: 50, mode: "active", leaderTimeMs: 0 }),
      heartbeat: () => ({ term: master.term, mode: "active", leaderTimeMs: 0, acknowledged: [], discard: [] }),
      reconcile: () => ({ match: true, trash: [], decidedAt: 1, adopted: 0, missing: 0 }),
    },
    stop: () => app.stop(true).then(() => {}),
  };
  const handlers: Handlers<Mailbox> = {
    ...(Object.fromEntries(Object.keys(MasterMailbox).map((type) => [type, notHere])) as unknown as Handlers<Mailbox>),
    REGISTER: (message) => {
      master.registrations.push(message);
      return master.answers.register(message);
    },
    HEARTBEAT: (message) => {
      master.heartbeats.push(message);
      return master.answers.heartbeat(message);
    },
    RECONCILE: (message) => {
      master.reconciliations.push(message);
      return master.answers.reconcile(message);
    },
  };
  const identity = { nodeId: "master-1", credentials: sharedSecret("master-1", secret), clusterId: () => clusterId };
  const app = new Elysia(SERVER_OPTIONS).use(
    mailbox(MasterMailbox, handlers, identity, createLogger("master-1", "silent" as "debug")),
  );
  app.listen(listenOptions(url));
  return master;
}
