/** Builds the data path of one gateway. */
import type { Config } from "../../actors/messages/config.ts";
import type { Logger } from "../../actors/node/log.ts";
import type { DataPath } from "./api.ts";

export interface DataPathOptions {
  config: Config;
  gatewayId: string;
  /** From `node/secret.ts`. */
  secret: string;
  log: Logger;
}

export function openDataPath(_options: DataPathOptions): DataPath {
  throw new Error("The data path is not built yet");
}
