/**
 * What every request passes on its way in and out, whichever door it comes to: its target, read once; the door's checks;
 * the principal, noted for the route; length, log and metrics on the way out. Each concern has a file of its own.
 */
import { Elysia } from "elysia";
import { Refusal } from "../../actors/messages/errors.ts";
import { checkTarget, rawPath } from "../../actors/node/http/entrance.ts";
import { SERVER_OPTIONS } from "../../actors/node/http/server-options.ts";
import type { Logger } from "../../actors/node/log.ts";
import { REQUEST_ID } from "../../actors/node/trace/carry.ts";
import { declareWork } from "../../actors/node/watchdog/current-work.ts";
import { noteAuthenticated } from "../access/authenticated.ts";
import { AccessLog, type AnswerCounter } from "./access-log.ts";
import { clientRequest, endSpan } from "./client-request.ts";
import { type Door, Doors } from "./door.ts";
import { errorResponse } from "./errors.ts";
import { requestIdOf } from "./request-id.ts";
import { findRoute, isPublic, type RouteTable } from "./route-table.ts";
import { statedLength } from "./stated-length.ts";

const answering = declareWork("request");
/** Answered also while the gateway stops. */
const LIVENESS = "/health/live";

export interface FrontDoorParts {
  doors: readonly Door[];
  /** Asked for at each request: the routes are known only when all are assembled. */
  routes: () => RouteTable;
  log: Logger;
  counter: AnswerCounter;
  /** true once the process has begun to stop: it takes no new work. */
  isStopping: () => boolean;
}

export function frontDoor({ doors, routes, log, counter, isStopping }: FrontDoorParts) {
  const accessLog = new AccessLog(log, counter);
  const all = new Doors(doors);
  const doorFor = (request: Request): Door => all.of(rawPath(request.url));
  const answerTo = (error: unknown, request: Request): Response =>
    errorResponse(error, request, doorFor(request), routes(), log);
  return new Elysia({ name: "front-door", ...SERVER_OPTIONS })
    .wrap(
      (handle) =>
        ((request: Request, ...rest: unknown[]) => {
          const requestId = requestIdOf(request);
          return clientRequest(request, requestId, async (span) => {
            answering.begins();
            const startedAt = performance.now();
            const answer = await answered(
              async () => {
                checkTarget(request);
                return (await handle(request, ...rest)) as unknown as Response;
              },
              (error) => answerTo(error, request),
            );
            answer.headers.set(REQUEST_ID, requestId);
            const length = statedLength(request);
            if (length !== undefined) answer.headers.set("content-length", String(length));
            const path = rawPath(request.url);
            const route = findRoute(routes(), path)?.pattern ?? "(none)";
            const { method } = request;
            accessLog.answered(request, { path, route, status: answer.status, ms: performance.now() - startedAt });
            if (span) endSpan(span, { method, path, route, requestId, answer });
            return answer;
          });
        }) as never,
    )
    .onRequest(({ request }) => doorFor(request).admit(request))
    .onBeforeHandle(({ request, route }) => {
      const door = doorFor(request);
      if (!isPublic(routes(), request.method, route)) noteAuthenticated(request, door.authenticate(request));
      if (isStopping() && route !== LIVENESS) throw new Refusal("NOT_READY", "The gateway is stopping");
      door.guard(request);
      refuseTrailers(request);
    })
    .onError({ as: "global" }, ({ error, request }) => answerTo(error, request))
    .as("global");
}

async function answered(handle: () => Promise<Response>, instead: (error: unknown) => Response): Promise<Response> {
  try {
    return await handle();
  } catch (error) {
    return instead(error);
  }
}

/** @throws INVALID_HEADER */
function refuseTrailers({ headers }: Request): void {
  if (headers.has("trailer"))
    throw new Refusal("INVALID_HEADER", "Trailers are not taken; send what they say in headers", { header: "Trailer" });
}
