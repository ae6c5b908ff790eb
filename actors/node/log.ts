/** Logging by pino: one JSON line per event, with a stable `event` name, on standard output. */
import pino from "pino";
import type { Config } from "../messages/config.ts";

export type Logger = pino.Logger;

export const createLogger = (nodeId: string, level: Config["logLevel"]): Logger =>
  pino(
    { level, base: { node: nodeId }, timestamp: pino.stdTimeFunctions.isoTime },
    pino.destination({ fd: 1, sync: true }),
  );
