/** Where a launcher that allows drills listens: a socket that only its owner can open. */
import { join } from "node:path";
import type { Config } from "../messages/config.ts";
import { LAUNCHED_ENV } from "./lifecycle.ts";

export const launcherSocket = ({ dataDirectory }: Pick<Config, "dataDirectory">): string =>
  join(dataDirectory, "launcher.sock");

/** Drills need a configuration that wants them, and a launcher that can undo them. */
export const takesPartInDrills = ({ drills }: Pick<Config, "drills">): boolean =>
  drills && Bun.env[LAUNCHED_ENV] !== undefined;
