/**
 * The one place where a node listens: how its server is set up, and the way of each request into it.
 *
 * Handlers see the target as Bun tidied it up: `a/../b` has become `b`, `\` has become `/`. Bun's own router sees the target
 * as it was sent. So every server is reached through that router, and `entrance.ts` compares the two.
 */
import type { AnyElysia } from "elysia";

/** Options that every server of ours passes to Elysia. */
export const SERVER_OPTIONS = { handler: { standardHostname: false }, normalize: false } as const;

/** Bun's router counts to 100 segments; what lies deeper is not compared. */
export const MOST_LEVELS = 99;
/** A load balancer asks for these in HTTP/1.0 without naming a host. */
const PROBES: ReadonlySet<string> = new Set(["/health/live", "/health/ready"]);

type Answer = (request: Request) => Response | Promise<Response>;

/** How a node listens at its URL. */
export const listenOptions = (url: string, hostname?: string) => {
  const { hostname: host, port } = new URL(url);
  return {
    hostname: hostname ?? host.replace(/^\[|\]$/g, ""),
    port: Number(port),
    reusePort: false,
    idleTimeout: 255,
    maxRequestBodySize: Number.MAX_SAFE_INTEGER,
  };
};

/** Serves an app at a URL; `app.stop()` ends it. The app calls `checkTarget` on what it gets. */
export function serve<App extends AnyElysia>(app: App, url: string): App {
  app.compile();
  app.server = Bun.serve({ ...listenOptions(url), ...throughRouter((request) => app.fetch(request)) });
  return app;
}

/** Options for `Bun.serve` that lead every request, as it was sent, to `answer`. */
export function throughRouter(answer: Answer) {
  const take: Answer = (request) => answer(asNamed(request));
  const routes: Record<string, Answer> = { "/": take, "/*": take };
  let path = "";
  for (let level = 0; level < MOST_LEVELS; level++) {
    path += `/:p${level}`;
    routes[path] = take;
    routes[`${path}/`] = take;
  }
  routes[`${path}/*`] = take;
  return { routes, fetch: take, development: false as const };
}

/** A probe that names no host is asked of this node. */
function asNamed(request: Request): Request {
  if (!PROBES.has(request.url)) return request;
  const { url, method, headers } = request;
  if (headers.get("host") || (method !== "GET" && method !== "HEAD")) return request;
  const named = new Headers(headers);
  named.set("host", "localhost");
  return new Request(`http://localhost${url}`, { method, headers: named });
}
