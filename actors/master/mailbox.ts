/** Where a message to a master goes: to its office while it leads, to its older state if that will do, or to the group. */
import { MasterMailbox, type MasterStatusAnswer, type Passed } from "../messages/master.ts";
import type { Handlers } from "../node/messaging/mailbox.ts";
import type { MetadataEngine } from "./group/raft-metadata.ts";
import type { RaftTransport } from "./group/raft-transport.ts";
import type { staleReads } from "./group/stale-reads.ts";
import type { LeaderMailbox, Office } from "./leading/office.ts";
import type { PassingDesk } from "./passing.ts";

export interface Rooms {
  engine: MetadataEngine;
  /** @throws NOT_LEADER */
  inOffice(): Office;
  passing: PassingDesk;
  stale: ReturnType<typeof staleReads>;
  transport: RaftTransport;
  status(): MasterStatusAnswer;
}

/** What any master answers by itself. */
const OF_EVERY_MASTER = new Set(["RAFT", "MASTER_STATUS", "PASS_ON", "PASSED_ON"]);

export function reception({
  engine,
  inOffice,
  passing,
  stale,
  transport,
  status,
}: Rooms): Handlers<typeof MasterMailbox> {
  const atLeader: unknown = Object.fromEntries(
    Object.keys(MasterMailbox)
      .filter((type) => !OF_EVERY_MASTER.has(type))
      .map((type) => [
        type,
        (message: never, sender: string) => inOffice().handlers[type as keyof LeaderMailbox](message, sender),
      ]),
  );
  /** What may be answered from an older state is, unless this master leads and knows better. */
  const readFresh = <T extends keyof typeof stale>(type: T): Office["handlers"][T] =>
    ((message: never, sender: string) =>
      (message as { consistency?: string }).consistency === "eventual" && !engine.raft.isReady
        ? stale[type](message, sender)
        : inOffice().handlers[type](message, sender)) as Office["handlers"][T];
  return {
    ...(atLeader as Office["handlers"]),
    STAT: readFresh("STAT"),
    LOCATE: readFresh("LOCATE"),
    LIST: readFresh("LIST"),
    MASTER_STATUS: status,
    PASS_ON: ({ message }, sender) => passing.passOn(message, sender),
    PASSED_ON: (passed, sender) => passing.take(passed, sender),
    RAFT: (batch, sender) => transport.take(batch, sender),
  };
}

/** Asks an office what was passed on to it. */
export const answerPassed = async (office: Office, message: Passed, gatewayId: string): Promise<unknown> =>
  office.handlers[message.type](message as never, gatewayId);
