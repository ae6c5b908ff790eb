/** What lies below the doors, as they see it: nothing is asked of it but in the name of a principal. Types only. */
import type { Principal } from "../access/principal.ts";
import type { Namespace } from "./namespace.ts";
import type { Operations } from "./operations.ts";
import type { Transfers } from "./transfers.ts";

/** All that one principal may ask for. */
export interface Services {
  transfers: Transfers;
  namespace: Namespace;
  operations: Operations;
}

/** What `backend.ts` builds from configuration and secret, and the doors pass requests to. */
export interface Backend {
  /** The services in the name of `principal`, who is named with every command that follows from a call. Costs nothing. */
  as(principal: Principal): Services;
  /** true once a leader has answered; for /health/ready. */
  ready(): Promise<boolean>;
  /** Gives back unused grants and stops timers. Uploads under way are failed. */
  close(): Promise<void>;
}
