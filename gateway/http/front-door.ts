/**
 * What every request passes on its way in and out: its target and host, read once; its token, judged at the route that
 * matched; the refusal of other sites' pages; metrics and the access log on the way out; and the one place where whatever
 * was thrown becomes a problem document.
 */
import { timingSafeEqual } from "node:crypto";
import { Elysia } from "elysia";
import { type ErrorCode, Refusal } from "../../actors/messages/errors.ts";
import { checkTarget, rawPath } from "../../actors/node/http/entrance.ts";
import { SERVER_OPTIONS } from "../../actors/node/messaging/mailbox.ts";
import { recorder } from "../../actors/node/record/recorder.ts";
import { declareWork } from "../../actors/node/watchdog/current-work.ts";
import type { Metrics } from "../rest/metrics.ts";
import type { Gateway } from "./context.ts";
import { problemResponse, RefusalWithHeaders } from "./problem.ts";
import { findRoute, isPublic, type RouteTable } from "./route-table.ts";

const answering = declareWork("request");
const requestIds = new WeakMap<Request, string>();
const statedLengths = new WeakMap<Request, number>();

/** Elysia answers HEAD through the GET route and counts the bytes of its empty body; this is the length to tell. */
export const stateLength = (request: Request, lengthBytes: number): void => {
  statedLengths.set(request, lengthBytes);
};

/** A client may bring its own id, so that its log and ours can be read together. */
function idOf(request: Request): string {
  let id = requestIds.get(request);
  if (id === undefined) {
    const given = request.headers.get("x-request-id") ?? "";
    id = /^[A-Za-z0-9._-]{1,64}$/.test(given) ? given : Bun.randomUUIDv7();
    requestIds.set(request, id);
  }
  return id;
}

const isRead = (method: string): boolean => method === "GET" || method === "HEAD" || method === "OPTIONS";

export function frontDoor(gateway: Gateway, metrics: Metrics, routes: () => RouteTable) {
  const { log, token } = gateway;
  return new Elysia({ name: "front-door", ...SERVER_OPTIONS })
    .wrap(
      (handle) =>
        (async (request: Request, ...rest: unknown[]) => {
          answering.begins();
          const startedAt = performance.now();
          const id = idOf(request);
          const answer = await answerOf(async () => {
            checkTarget(request);
            return (await handle(request, ...rest)) as unknown as Response;
          }, request);
          answer.headers.set("x-request-id", id);
          const length = statedLengths.get(request);
          if (length !== undefined) answer.headers.set("content-length", String(length));
          const path = rawPath(request.url);
          const route = findRoute(routes(), path)?.pattern ?? "(none)";
          const elapsedMs = performance.now() - startedAt;
          metrics.answered(request.method, route, answer.status, elapsedMs / 1000);
          log.debug(
            { event: "request", id, method: request.method, path, status: answer.status, ms: Math.round(elapsedMs) },
            "answered",
          );
          return answer;
        }) as never,
    )
    .onRequest(({ request }) => {
      if (token === null) checkHost(request);
    })
    .onBeforeHandle(({ request, route }) => {
      if (!isPublic(routes(), request.method, route)) checkToken(request, token);
      if (gateway.stopping && route !== "/health/live") throw new Refusal("NOT_READY", "The gateway is stopping");
      checkSite(request);
      if (request.headers.has("trailer"))
        throw new Refusal("INVALID_HEADER", "Trailers are not taken; send what they say in headers", {
          header: "Trailer",
        });
    })
    .onError({ as: "global" }, ({ error, request }) => toProblem(error, request))
    .as("global");

  async function answerOf(handle: () => Promise<Response>, request: Request): Promise<Response> {
    try {
      return await handle();
    } catch (error) {
      return toProblem(error, request);
    }
  }

  function toProblem(error: unknown, request: Request): Response {
    const id = idOf(request);
    const refusal = asRefusal(error) ?? nothingThere(error, request, routes(), token);
    if (refusal) {
      note(request, refusal.code, refusal.message);
      if (refusal.status >= 500)
        log.warn({ event: "refused", id, code: refusal.code, path: rawPath(request.url) }, refusal.message);
      return problemResponse(refusal, id, refusal instanceof RefusalWithHeaders ? refusal.headers : {});
    }
    note(request, "INTERNAL", String(error));
    log.error(
      { event: "request-failed", id, method: request.method, path: rawPath(request.url), err: error },
      `${request.method} ${rawPath(request.url)} failed`,
    );
    return problemResponse(new Refusal("INTERNAL", "The gateway failed while answering"), id);
  }
}

/** Outcomes that are nobody's decision. */
const FAILED = new Set<ErrorCode>(["INTERNAL", "TIMEOUT", "OUTCOME_UNKNOWN"]);

/** Refusals go into the record, as kinds of requests, not as single ones; the console's own stay out. */
function note(request: Request, code: ErrorCode, reason: string): void {
  const [, area = ""] = rawPath(request.url).split("/");
  if (code === "NOT_MODIFIED" || area === "console") return;
  recorder()?.refused(`${request.method} /${area.slice(0, 40)}`, code, reason, {}, FAILED.has(code));
}

/** Names that no name server can lead elsewhere. */
export const isLoopback = (hostname: string): boolean => /^(127(\.\d{1,3}){3}|\[::1\]|localhost)$/i.test(hostname);

/**
 * Without a token, being on this machine is the credential; a page of another site that makes its own name lead here
 * (DNS rebinding) still names itself in `Host`.
 */
export function checkHost({ headers, url }: Request): void {
  const hostname = (headers.get("host") ?? new URL(url).host).replace(/:\d*$/, "");
  if (!isLoopback(hostname))
    throw new Refusal(
      "WRONG_HOST",
      `The request asks for host ${hostname.slice(0, 100)}; allowed: localhost, 127.0.0.1`,
    );
}

function checkToken(request: Request, token: string | null): void {
  if (token === null) return;
  const given = /^Bearer\s+(\S+)$/i.exec(request.headers.get("authorization") ?? "")?.[1];
  if (given === undefined) throw new Refusal("UNAUTHENTICATED", "The request carries no token");
  const [a, b] = [token, given].map((text) => new Bun.CryptoHasher("sha256").update(text).digest());
  if (!timingSafeEqual(a as Buffer, b as Buffer))
    throw new Refusal("UNAUTHENTICATED", "The token is not the right one");
}

/** A browser sends `Origin` with every change; a form on somebody else's page must not reach a gateway on this machine. */
function checkSite(request: Request): void {
  const origin = request.headers.get("origin");
  if (origin === null || isRead(request.method)) return;
  if (!URL.canParse(origin) || new URL(origin).host !== new URL(request.url).host)
    throw new Refusal("CROSS_SITE", `A page of ${origin.slice(0, 100)} asks to change files here`);
}

const asRefusal = (error: unknown): Refusal | null => (error instanceof Refusal ? error : null);

/** What is said where no route matched; which routes there are is told to those alone who may use them. */
function nothingThere(error: unknown, request: Request, routes: RouteTable, token: string | null): Refusal | null {
  if ((error as { code?: unknown } | null)?.code !== "NOT_FOUND") return null;
  try {
    checkToken(request, token);
  } catch (refused) {
    return asRefusal(refused);
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
