/** How masters ask each other where they stand, before they are one group. */
import type { MasterMailbox, MasterStatusAnswer } from "../../messages/master.ts";
import type { Identity } from "../../node/identity/identity.ts";
import { send } from "../../node/messaging/outbox.ts";

const ASK_TIMEOUT_MS = 1000;

/** @returns null if it does not answer */
export const askStatus = (identity: Identity, url: string): Promise<MasterStatusAnswer | null> =>
  send<typeof MasterMailbox, "MASTER_STATUS">(
    identity,
    url,
    { type: "MASTER_STATUS" },
    { timeoutMs: ASK_TIMEOUT_MS },
  ).catch(() => null);
