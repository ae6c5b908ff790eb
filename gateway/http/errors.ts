/** The one place where what was thrown becomes an answer, in the form of the door that it leaves by. */
import { type ErrorCode, Refusal } from "../../actors/messages/errors.ts";
import { rawPath } from "../../actors/node/http/entrance.ts";
import type { Logger } from "../../actors/node/log.ts";
import { recorder } from "../../actors/node/record/running-recorder.ts";
import { askedBy } from "./access-log.ts";
import type { Door } from "./door.ts";
import { RefusalWithHeaders } from "./problem.ts";
import { requestIdOf } from "./request-id.ts";
import { findRoute, type RouteTable } from "./route-table.ts";

/** Outcomes that no rule decided. */
const FAILED = new Set<ErrorCode>(["INTERNAL", "TIMEOUT", "OUTCOME_UNKNOWN"]);

/** @param routes those of the gateway, for a request that matched none */
export function errorResponse(error: unknown, request: Request, door: Door, routes: RouteTable, log: Logger): Response {
  const id = requestIdOf(request);
  const path = rawPath(request.url);
  const refusal = error instanceof Refusal ? error : isNotFound(error) ? nothingThere(request, door, routes) : null;
  if (refusal) {
    note(request, door, refusal.code, refusal.message);
    if (refusal.status >= 500)
      log.warn({ event: "refused", id, ...askedBy(request), code: refusal.code, path }, refusal.message);
    return door.refuse(refusal, id);
  }
  note(request, door, "INTERNAL", String(error));
  log.error(
    { event: "request-failed", id, ...askedBy(request), method: request.method, path, err: error },
    `${request.method} ${path} failed`,
  );
  return door.refuse(new Refusal("INTERNAL", "The gateway failed while answering"), id);
}

/** Refusals go into the record, as kinds of requests, not as single ones. */
function note(request: Request, { isRecorded }: Door, code: ErrorCode, reason: string): void {
  if (code === "NOT_MODIFIED" || !isRecorded) return;
  const [, area = ""] = rawPath(request.url).split("/");
  const kind = `${request.method} /${area.slice(0, 40)}`;
  recorder()?.refused(kind, code, reason, askedBy(request), FAILED.has(code));
}

/** Elysia throws this where no route matched. */
const isNotFound = (error: unknown): boolean => (error as { code?: unknown } | null)?.code === "NOT_FOUND";

/** Only a client that may use the routes learns which there are. */
function nothingThere(request: Request, door: Door, routes: RouteTable): Refusal {
  try {
    door.authenticate(request);
  } catch (refused) {
    if (refused instanceof Refusal) return refused;
    throw refused;
  }
  const path = rawPath(request.url);
  const route = findRoute(routes, path);
  if (route === null) return new Refusal("NO_SUCH_ROUTE", `There is no route ${path.slice(0, 200)}`);
  const allow = route.methods.join(", ");
  return new RefusalWithHeaders(
    "METHOD_NOT_ALLOWED",
    `${request.method} has no meaning at ${route.pattern}; allowed: ${allow}`,
    { allow: route.methods },
    { allow },
  );
}
