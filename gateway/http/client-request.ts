/**
 * One request of a client as the beginning of what it brings about on all nodes: its id, and its span, which goes on with the
 * client's own trace if its `traceparent` names one.
 *
 * @see https://www.w3.org/TR/trace-context/
 */
import { rawPath } from "../../actors/node/http/entrance.ts";
import { spanFrom } from "../../actors/node/trace/carry.ts";
import { isTracing, type Span, startTrace } from "../../actors/node/trace/span.ts";
import { inContext } from "../../actors/node/trace/trace-context.ts";

/** Those who watch the gateway ask all the time; they are no clients. */
const WATCHING: ReadonlySet<string> = new Set(["console", "health", "metrics"]);

function isOfClient({ url }: Request): boolean {
  const [, area = ""] = rawPath(url).split("/");
  return !WATCHING.has(area);
}

/** @param answer is given the request's span, which it ends; null: nothing is traced */
export function clientRequest(
  request: Request,
  requestId: string,
  answer: (span: Span | null) => Promise<Response>,
): Promise<Response> {
  const context = { span: spanFrom(request.headers), requestId, cause: undefined };
  const span = isTracing() && isOfClient(request) ? startTrace(request.method, "server", context) : null;
  return inContext(span ? span.context : context, () => answer(span));
}

export interface Answered {
  method: string;
  path: string;
  /** Pattern of the route that matched. */
  route: string;
  requestId: string;
  answer: Response;
}

/** Named as OpenTelemetry names HTTP requests. A refusal of the client's own fault is no error of ours. */
export function endSpan(span: Span, { method, path, route, requestId, answer }: Answered): void {
  span.rename(`${method} ${route}`);
  span.set({
    "http.request.method": method,
    "http.route": route,
    "http.response.status_code": answer.status,
    "url.path": path,
    "dfs.request_id": requestId,
  });
  span.end(answer.status >= 500 ? { code: String(answer.status), message: answer.statusText } : undefined);
}
