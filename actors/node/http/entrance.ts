/**
 * The way in: the target and the host of a request can be read in one way only. With an invalid Host the whole URL is a bare
 * path; Bun tidies the target up before a handler sees it. A request that Bun's router and the handlers read differently is
 * refused before any of it is used.
 */
import { Elysia } from "elysia";
import { Refusal } from "../../messages/errors.ts";
import type { Logger } from "../log.ts";
import { refusalResponse } from "./answers.ts";
import { MOST_LEVELS, SERVER_OPTIONS } from "./server-options.ts";

const HOST = /^([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:\d{0,5})?$/;

/** The first plugin of a node's server: refuses what `checkTarget` does not let pass. */
export const entrance = (log: Logger) =>
  new Elysia({ name: "entrance", ...SERVER_OPTIONS })
    .onRequest(({ request }) => {
      try {
        checkTarget(request);
      } catch (error) {
        return refusalResponse(error, log, "(target)");
      }
    })
    .as("global");

/** @returns the URL's path as the handlers read it, without query; `http://h:1/files/a%20b?x` → `/files/a%20b` */
export function rawPath(url: string): string {
  const start = url.indexOf("/", url.indexOf("://") + 3);
  if (start < 0) return "/";
  const query = url.indexOf("?", start);
  const fragment = url.indexOf("#", start);
  const end = query < 0 || (fragment >= 0 && fragment < query) ? fragment : query;
  return end < 0 ? url.slice(start) : url.slice(start, end);
}

/**
 * Makes sure that the target and the host of a request can be read in one way only.
 *
 * @throws INVALID_HEADER if it does not name one valid Host; INVALID_PATH if the target is not a path, or holds what would
 * be resolved or cut off before a handler sees it
 */
export function checkTarget(request: Request): void {
  const { url } = request;
  const host = request.headers.get("host");
  if (!host && !url.startsWith("http"))
    throw new Refusal("INVALID_HEADER", "The request names no Host", { header: "Host" });
  if (host && !HOST.test(host)) throw invalidHost(host);
  if (!/^https?:\/\//.test(url)) throw new Refusal("INVALID_PATH", "The request's target is not a path");
  if (!URL.canParse(url)) throw invalidHost(host ?? "");
  if (url.includes("#")) throw new Refusal("INVALID_PATH", "The request's target has a fragment; write # as %23");
  const sent = (request as { params?: Record<string, string> }).params;
  if (sent) compare(Object.values(sent), rawPath(url));
}

const invalidHost = (host: string): Refusal =>
  new Refusal("INVALID_HEADER", `Host is "${host.slice(0, 100)}"; allowed: one name or address, with a port`, {
    header: "Host",
  });

/** @param sent segments as Bun's router read them, decoded; none if one of them is empty */
function compare(sent: string[], path: string): void {
  const read = path.slice(1).split("/");
  if (read.at(-1) === "") read.pop();
  if (sent.length === 0 && read.length > 0) throw new Refusal("INVALID_PATH", "The path has an empty segment");
  const isWhole = sent.length === read.length || (sent.length === MOST_LEVELS && read.length > MOST_LEVELS);
  if (!isWhole || sent.some((segment, n) => segment !== decoded(read[n] as string)))
    throw new Refusal("INVALID_PATH", "The path has a segment . or .., or a \\ that is not written %5C");
}

function decoded(segment: string): string {
  if (!segment.includes("%")) return segment;
  try {
    return decodeURIComponent(segment);
  } catch {
    throw new Refusal("INVALID_PATH", "The path has a broken percent escape, or its bytes are not UTF-8", {
      path: segment.slice(0, 200),
    });
  }
}
