/** What the routes of every door get: configuration, what lies below the doors, and in whose name they may use it. */
import type { Config } from "../../actors/messages/config.ts";
import type { Logger } from "../../actors/node/log.ts";
import { principalOf } from "../access/authenticated.ts";
import type { Backend, Services } from "../ports/backend.ts";

export interface Gateway {
  id: string;
  config: Config;
  backend: Backend;
  log: Logger;
  /** Bearer token that every request must carry; null: none is asked for. */
  token: string | null;
  /** true once the process has begun to stop: it takes no new work. */
  stopping: boolean;
}

/** The services in the name of the principal who sent the request. */
export const servicesFor = ({ backend }: Gateway, request: Request): Services => backend.as(principalOf(request));
