/**
 * A node's mailbox: `POST /messages`, one msgpack envelope in, one answer out. The message's `type` picks the schema and
 * the handler; what does not fit its schema, is not signed, or belongs to another cluster never reaches a handler.
 * `send` is the other end.
 */
import type { Static, TSchema } from "@sinclair/typebox";
import { TypeCompiler } from "@sinclair/typebox/compiler";
import { Elysia } from "elysia";
import { isErrorCode, Refusal } from "../messages/errors.ts";
import { RecordsMailbox } from "../messages/records.ts";
import { cutLink } from "./link-cut.ts";
import type { Logger } from "./log.ts";
import { recorder, recordsHandlers } from "./recorder.ts";
import { CAUSE_HEADER, currentCause, formatCause, noteAnswer, parseCause, withCause } from "./recorder-cause.ts";
import { sign, verifySignature } from "./signature.ts";
import { decode, type Envelope, encode, WIRE_TYPE, WIRE_VERSION } from "./wire.ts";

export type MailboxSchema = Record<string, { message: TSchema; answer: TSchema }>;
export type MessageOf<M extends MailboxSchema, T extends keyof M> = Static<M[T]["message"]>;
export type AnswerOf<M extends MailboxSchema, T extends keyof M> = Static<M[T]["answer"]>;

export type Handlers<M extends MailboxSchema> = {
  [T in keyof M]: (message: MessageOf<M, T>, sender: string) => AnswerOf<M, T> | Promise<AnswerOf<M, T>>;
};

/** Who we are, towards other nodes. */
export interface Identity {
  nodeId: string;
  secret: string;
  /** null until the node has joined a cluster. */
  clusterId(): string | null;
}

const MAX_MESSAGE_BYTES = 4 << 20;

/** Options that every server of ours passes to Elysia and to `listen`. */
export const SERVER_OPTIONS = { handler: { standardHostname: false }, normalize: false } as const;
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

/** The Elysia plugin that serves `POST /messages`. */
export function mailbox<M extends MailboxSchema>(schema: M, handlers: Handlers<M>, identity: Identity, log: Logger) {
  const takes: MailboxSchema = { ...RecordsMailbox, ...schema };
  const handles = { ...recordsHandlers, CUT_LINK: cutLink, ...handlers };
  const checks = new Map(Object.entries(takes).map(([type, { message }]) => [type, TypeCompiler.Compile(message)]));
  return new Elysia({ name: "mailbox", ...SERVER_OPTIONS }).post(
    "/messages",
    async ({ request }) => {
      let type = "(unread)";
      try {
        // Whoever sends this has proved nothing yet, so an endless body must not be read.
        if (!(Number(request.headers.get("content-length") ?? Number.NaN) <= MAX_MESSAGE_BYTES))
          throw new Refusal("PAYLOAD_TOO_LARGE", `A message tells its length, of at most ${MAX_MESSAGE_BYTES} bytes`);
        const bytes = new Uint8Array(await request.arrayBuffer());
        const sender = verifySignature(
          identity.secret,
          request.headers.get("authorization"),
          "POST",
          "/messages",
          bytes,
        );
        const message = open(bytes, identity.clusterId());
        type = message.type;
        const check = checks.get(message.type);
        if (!check) throw new Refusal("INVALID_MESSAGE", `This node takes no message of type ${message.type}`);
        const wrong = check.Check(message) ? undefined : check.Errors(message).First();
        if (wrong) throw new Refusal("INVALID_MESSAGE", `${message.type}${wrong.path}: ${wrong.message}`);
        const handler = handles[message.type as keyof typeof handles] as (m: unknown, sender: string) => unknown;
        return await withCause(parseCause(request.headers.get(CAUSE_HEADER)), async () => {
          const answer = await handler(message, sender);
          const cause = currentCause();
          return reply(200, answer, cause ? { [CAUSE_HEADER]: formatCause(cause) } : {});
        });
      } catch (error) {
        return refusalResponse(error, log, type);
      }
    },
    { parse: "none" },
  );
}

function open(bytes: Uint8Array, clusterId: string | null): { type: string } {
  let envelope: Envelope;
  try {
    envelope = decode(bytes) as Envelope;
  } catch {
    throw new Refusal("INVALID_MESSAGE", "The body is not msgpack");
  }
  if (!Array.isArray(envelope) || envelope.length !== 3 || typeof envelope[2]?.type !== "string")
    throw new Refusal("INVALID_MESSAGE", "The body is not an envelope [version, clusterId, message]");
  const [version, theirs, message] = envelope;
  if (version !== WIRE_VERSION)
    throw new Refusal("INVALID_MESSAGE", `Wire version ${version}; this node speaks ${WIRE_VERSION}`);
  if (theirs !== null && clusterId !== null && theirs !== clusterId)
    throw new Refusal("WRONG_CLUSTER", `The sender is of cluster ${theirs}, this node of ${clusterId}`);
  return message;
}

const reply = (status: number, value: unknown, headers: Record<string, string> = {}): Response =>
  new Response(encode(value), { status, headers: { "content-type": WIRE_TYPE, ...headers } });

/** A refusal becomes its code; anything else is our bug: logged whole, told as INTERNAL. */
export function refusalResponse(error: unknown, log: Logger, request = "block"): Response {
  if (error instanceof Refusal) {
    recorder()?.refused(request, error.code, error.message);
    return reply(error.status, { code: error.code, message: error.message, details: error.details });
  }
  recorder()?.refused(request, "INTERNAL", String(error), {}, true);
  log.error({ event: "handler-failed", err: error }, "a handler failed");
  return reply(500, { code: "INTERNAL", message: "The node failed while handling the message", details: {} });
}

/** Turns a non-2xx answer of another node back into the refusal that it was. */
export async function refusalOf(response: Response, url: string): Promise<Refusal> {
  try {
    const { code, message, details } = decode(new Uint8Array(await response.arrayBuffer())) as {
      code: string;
      message: string;
      details: Record<string, unknown>;
    };
    if (isErrorCode(code)) return new Refusal(code, message, details);
  } catch {
    // not one of our answers: fall through
  }
  return new Refusal("PEER_UNREACHABLE", `${url} answered ${response.status}, not as a node of ours would`);
}

/**
 * Sends one message and waits for its answer.
 *
 * @param timeoutMs after this the outcome is unknown: TIMEOUT
 * @throws Refusal: the receiver's own, or PEER_UNREACHABLE if it could not be reached (`details.connectionRefused`: it
 *   has certainly not received the message), or TIMEOUT
 */
export async function send<M extends MailboxSchema, T extends keyof M & string>(
  identity: Identity,
  url: string,
  message: MessageOf<M, T> & { type: T },
  { timeoutMs = 5000, signal }: { timeoutMs?: number; signal?: AbortSignal } = {},
): Promise<AnswerOf<M, T>> {
  const body = encode([WIRE_VERSION, identity.clusterId(), message] satisfies Envelope);
  const deadline = AbortSignal.timeout(timeoutMs);
  const cause = currentCause();
  let response: Response;
  try {
    response = await fetch(`${url}/messages`, {
      method: "POST",
      body,
      headers: {
        "content-type": WIRE_TYPE,
        authorization: sign(identity.secret, identity.nodeId, "POST", "/messages", body),
        ...(cause && { [CAUSE_HEADER]: formatCause(cause) }),
      },
      signal: signal ? AbortSignal.any([signal, deadline]) : deadline,
    });
    const standsBehind = parseCause(response.headers.get(CAUSE_HEADER));
    if (response.ok) {
      const answer = decode(new Uint8Array(await response.arrayBuffer())) as AnswerOf<M, T>;
      noteAnswer(answer, standsBehind);
      return answer;
    }
  } catch (cause) {
    if (deadline.aborted) throw new Refusal("TIMEOUT", `${url} did not answer ${message.type} within ${timeoutMs} ms`);
    throw new Refusal("PEER_UNREACHABLE", `${url} cannot be reached: ${(cause as Error).message}`, {
      connectionRefused: (cause as { code?: string }).code === "ECONNREFUSED",
    });
  }
  throw await refusalOf(response, url);
}

/** Codes after which the same message may be sent again, here or elsewhere, without harm. */
export const isRetryable = (error: unknown): boolean =>
  error instanceof Refusal &&
  ["PEER_UNREACHABLE", "TIMEOUT", "NOT_LEADER", "NOT_READY", "NO_LEADER", "OVERLOADED"].includes(error.code);
