/** What every REST route gets: configuration, the data path, and who is asking for what. */
import type { Config } from "../../actors/messages/config.ts";
import type { Logger } from "../../actors/node/log.ts";
import type { Console } from "../console/console.ts";
import type { DataPath } from "../ports/data-path.ts";

export interface Gateway {
  id: string;
  config: Config;
  data: DataPath;
  log: Logger;
  /** Bearer token that every request must carry; null: none is asked for. */
  token: string | null;
  /** true once the process was told to stop: no new work is taken. */
  stopping: boolean;
  /** Behind the console's routes; absent where nothing is recorded. */
  console?: Console;
}
