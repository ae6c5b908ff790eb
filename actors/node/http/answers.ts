/** What a node answers another: a value, or a refusal; as a response, and read back from one. */
import { isErrorCode, Refusal } from "../../messages/errors.ts";
import type { Logger } from "../log.ts";
import { recorder } from "../record/running-recorder.ts";
import { SHORT_ANSWER_BYTES, wholeBody } from "./whole-body.ts";
import { decode, encode, WIRE_TYPE } from "./wire.ts";

export interface Answer {
  /** As of HTTP: 200, or the refusal's. */
  status: number;
  value: unknown;
}

export const reply = ({ status, value }: Answer, headers: Record<string, string> = {}): Response =>
  new Response(encode(value), { status, headers: { "content-type": WIRE_TYPE, ...headers } });

/** A refusal becomes its code; any other error is our bug: logged whole, answered as INTERNAL. */
export function refusalAnswer(error: unknown, log: Logger, request: string): Answer {
  if (error instanceof Refusal) {
    const { status, code, message, details } = error;
    recorder()?.refused(request, code, message);
    return { status, value: { code, message, details } };
  }
  recorder()?.refused(request, "INTERNAL", String(error), {}, true);
  log.error({ event: "handler-failed", err: error }, "a handler failed");
  const message = "The node failed while handling the message";
  return { status: 500, value: { code: "INTERNAL", message, details: {} } };
}

export const refusalResponse = (error: unknown, log: Logger, request = "block"): Response =>
  reply(refusalAnswer(error, log, request));

/** Refusals that another node answered, and its URL. */
const refusedBy = new WeakMap<Refusal, string>();

/** The node whose answer this refusal was; null: it is one of this node's own. */
export const whoRefused = (refusal: Refusal): string | null => refusedBy.get(refusal) ?? null;

/** Turns another node's answer with a non-2xx status back into the refusal that it was. */
export function refusalFrom({ status, value }: Answer, url: string): Refusal {
  const { code, message, details } = (value ?? {}) as { code?: unknown; message?: unknown; details?: unknown };
  if (typeof code === "string" && isErrorCode(code)) {
    const refusal = new Refusal(code, String(message), (details ?? {}) as Record<string, unknown>);
    refusedBy.set(refusal, url);
    return refusal;
  }
  return new Refusal("PEER_UNREACHABLE", `${url} answered ${status}, not as a node of ours would`);
}

export async function refusalOf(response: Response, url: string): Promise<Refusal> {
  const bytes = await wholeBody(response, SHORT_ANSWER_BYTES);
  let value: unknown = null;
  try {
    value = decode(bytes);
  } catch {
    // Not an answer of a node of ours: only its status counts.
  }
  return refusalFrom({ status: response.status, value }, url);
}
