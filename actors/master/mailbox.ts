/** Where a message to a master goes: to its office while it leads, to its older state if that will do, or to the group. */
import { MasterMailbox, type MasterStatusAnswer, type Passed } from "../messages/master.ts";
import type { Handlers } from "../node/messaging/mailbox.ts";
import type { RaftMetadata } from "./group/raft-metadata.ts";
import type { RaftTransport } from "./group/raft-transport.ts";
import type { staleReads } from "./group/stale-reads.ts";
import type { Leadership } from "./leadership.ts";
import type { OfficeMailbox } from "./leading/office.ts";
import type { Passing } from "./passing.ts";

interface Parts {
  metadata: RaftMetadata;
  leadership: Leadership;
  passing: Passing;
  stale: ReturnType<typeof staleReads>;
  transport: RaftTransport;
  status(): MasterStatusAnswer;
}

/** What any master answers by itself. */
const EVERY_MASTER = ["RAFT", "MASTER_STATUS", "PASS_ON", "PASSED_ON"] as const;
const OF_EVERY_MASTER: ReadonlySet<string> = new Set(EVERY_MASTER);
type OfEveryMaster = Pick<Handlers<typeof MasterMailbox>, (typeof EVERY_MASTER)[number]>;
type OfLeader = Omit<Handlers<typeof MasterMailbox>, keyof OfEveryMaster>;

export function masterHandlers(parts: Parts): Handlers<typeof MasterMailbox> {
  const { metadata, leadership, passing, stale, transport, status } = parts;
  const ofEveryMaster: OfEveryMaster = {
    MASTER_STATUS: status,
    PASS_ON: ({ message }, sender) => passing.passOn(message, sender),
    PASSED_ON: (passed, sender) => passing.take(passed, sender),
    RAFT: (batch, sender) => transport.take(batch, sender),
  };
  const ofLeader = handlersOfLeader(leadership);
  /** Serves `eventual` reads from local state; a leader always answers from its own. */
  const readFresh = <T extends keyof typeof stale>(type: T): OfLeader[T] =>
    ((message: never, sender: string) =>
      (message as { consistency?: string }).consistency === "eventual" && !metadata.raft.isReady
        ? stale[type](message, sender)
        : ofLeader[type](message, sender)) as OfLeader[T];
  return {
    ...ofLeader,
    ...ofEveryMaster,
    STAT: readFresh("STAT"),
    LOCATE: readFresh("LOCATE"),
    LIST: readFresh("LIST"),
  };
}

/** All throw NOT_LEADER while another master leads. */
function handlersOfLeader(leadership: Leadership): OfLeader {
  const types = Object.keys(MasterMailbox).filter((type) => !OF_EVERY_MASTER.has(type)) as (keyof OfficeMailbox)[];
  const inOffice: unknown = Object.fromEntries(
    types.map((type) => [
      type,
      (message: never, sender: string) => leadership.inOffice().handlers[type](message, sender),
    ]),
  );
  return {
    ...(inOffice as Handlers<OfficeMailbox>),
    CHANGE_MASTERS: ({ change, id, url }) => leadership.members().change(change, id, url),
    TRANSFER_LEADERSHIP: async ({ to }) => ({ leader: await leadership.members().transfer(to) }),
  };
}

/** Answers, as a leader does, what another master passed on. @throws NOT_LEADER */
export async function answerPassed(leadership: Leadership, message: Passed, gatewayId: string): Promise<unknown> {
  const handlers = handlersOfLeader(leadership);
  return handlers[message.type](message as never, gatewayId);
}
