/**
 * Logging by pino: one JSON line per event, with a stable `event` name, on standard output. A line that a client's request
 * brought about names it, on every node: `requestId`, and `traceId` if it is traced.
 */
import pino from "pino";
import type { Config } from "../messages/config.ts";
import { currentContext } from "./trace/trace-context.ts";

export type Logger = pino.Logger;

export const createLogger = (nodeId: string, level: Config["logLevel"]): Logger =>
  pino(
    { level, base: { node: nodeId }, timestamp: pino.stdTimeFunctions.isoTime, mixin: ofRequest },
    pino.destination({ fd: 1, sync: true }),
  );

function ofRequest(): { requestId?: string; traceId?: string } {
  const { requestId, span } = currentContext() ?? {};
  if (span === undefined) return requestId === undefined ? {} : { requestId };
  return { requestId, traceId: span.traceId };
}
