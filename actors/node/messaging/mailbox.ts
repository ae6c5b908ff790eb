/**
 * A node's mailbox: `POST /messages`, one msgpack envelope in, one answer out; `POST /messages/batch`, several in, and
 * each one's answer as soon as it is there. The message's `type` picks the schema and the handler. A message that does not fit
 * its schema, is not signed, belongs to another cluster, or may not come from its sender reaches no handler. The other end is
 * `outbox.ts`.
 */
import type { Static, TSchema } from "@sinclair/typebox";
import { TypeCompiler } from "@sinclair/typebox/compiler";
import { Elysia } from "elysia";
import { Refusal } from "../../messages/errors.ts";
import { RecordsMailbox } from "../../messages/records.ts";
import { type Answer, refusalAnswer, refusalResponse, reply } from "../http/answers.ts";
import { SERVER_OPTIONS } from "../http/server-options.ts";
import { decode, type Envelope, WIRE_VERSION } from "../http/wire.ts";
import type { Identity } from "../identity/identity.ts";
import { assertMessageFrom } from "../identity/sender.ts";
import type { Logger } from "../log.ts";
import { CAUSE_HEADER, currentCause, formatCause } from "../record/cause.ts";
import { recordsHandlers } from "../record/running-recorder.ts";
import { contextFrom, unpack } from "../trace/carry.ts";
import { received } from "../trace/span.ts";
import type { TraceContext } from "../trace/trace-context.ts";
import { declareWork } from "../watchdog/current-work.ts";
import { BatchAnswer } from "./batch-answer.ts";
import { BATCH, decodeLetters, MESSAGES } from "./batch-format.ts";
import { cutLink } from "./link-cut.ts";

export type MailboxSchema = Record<string, { message: TSchema; answer: TSchema }>;
export type MessageOf<M extends MailboxSchema, T extends keyof M> = Static<M[T]["message"]>;
export type AnswerOf<M extends MailboxSchema, T extends keyof M> = Static<M[T]["answer"]>;

export type Handlers<M extends MailboxSchema> = {
  [T in keyof M]: (message: MessageOf<M, T>, sender: string) => AnswerOf<M, T> | Promise<AnswerOf<M, T>>;
};

const MAX_MESSAGE_BYTES = 4 << 20;
/** Stands for the type of a message that was refused before it was read. */
const UNREAD = "(unread)";

interface Consequence {
  /** The record that stands behind the answer. */
  cause: string | null;
}

/** The Elysia plugin that serves `POST /messages` and `POST /messages/batch`. */
export function mailbox<M extends MailboxSchema>(schema: M, handlers: Handlers<M>, identity: Identity, log: Logger) {
  const takes: MailboxSchema = { ...RecordsMailbox, ...schema };
  const handles = { ...recordsHandlers, CUT_LINK: cutLink, ...handlers };
  const checks = new Map(Object.entries(takes).map(([type, { message }]) => [type, TypeCompiler.Compile(message)]));
  const works = new Map(Object.keys(takes).map((type) => [type, declareWork(`message ${type}`)]));

  async function handle(
    envelope: Uint8Array,
    sender: string,
    context: TraceContext | undefined,
  ): Promise<Answer & Consequence> {
    let type = UNREAD;
    try {
      const message = open(envelope, identity.clusterId());
      type = message.type;
      const check = checks.get(type);
      if (!check) throw new Refusal("INVALID_MESSAGE", `This node takes no message of type ${type}`);
      const wrong = check.Check(message) ? undefined : check.Errors(message).First();
      if (wrong) throw new Refusal("INVALID_MESSAGE", `${type}${wrong.path}: ${wrong.message}`);
      assertMessageFrom(message, sender, identity.rolesOf);
      works.get(type)?.begins();
      const handler = handles[type as keyof typeof handles] as (m: unknown, sender: string) => unknown;
      return await received(context, type, async (span) => {
        span?.set({ "rpc.method": type, "dfs.sender": sender });
        if (context?.requestId !== undefined) log.debug({ event: "message", type, sender }, "taken");
        const value = await handler(message, sender);
        const standsBehind = currentCause();
        return { status: 200, value, cause: standsBehind ? formatCause(standsBehind) : null };
      });
    } catch (error) {
      return { ...refusalAnswer(error, log, type), cause: null };
    }
  }

  return new Elysia({ name: "mailbox", ...SERVER_OPTIONS })
    .post(
      MESSAGES,
      async ({ request, server }) => {
        try {
          const { bytes, sender } = await receive({ request, server }, MESSAGES, identity);
          const { cause, ...answer } = await handle(bytes, sender, contextFrom(request.headers));
          return reply(answer, cause ? { [CAUSE_HEADER]: cause } : {});
        } catch (error) {
          return refusalResponse(error, log, UNREAD);
        }
      },
      { parse: "none" },
    )
    .post(
      BATCH,
      async ({ request, server }) => {
        try {
          const { bytes, sender } = await receive({ request, server }, BATCH, identity);
          const letters = decodeLetters(bytes);
          const answers = new BatchAnswer(letters.length);
          for (const [n, [envelope, theirCause, carried]] of letters.entries())
            void handle(envelope, sender, unpack(carried, theirCause)).then(({ status, value, cause }) =>
              answers.add([n, status, value, cause]),
            );
          return await answers.response;
        } catch (error) {
          return refusalResponse(error, log, UNREAD);
        }
      },
      { parse: "none" },
    );
}

interface Arrival {
  request: Request;
  server: { timeout(request: Request, seconds: number): void } | null;
}

async function receive({ request, server }: Arrival, path: string, { credentials }: Identity) {
  // The sender has proved nothing yet, so an endless body must not be read.
  if (!(Number(request.headers.get("content-length") ?? Number.NaN) <= MAX_MESSAGE_BYTES))
    throw new Refusal("PAYLOAD_TOO_LARGE", `A message states its length, at most ${MAX_MESSAGE_BYTES} bytes`);
  const bytes = new Uint8Array(await request.arrayBuffer());
  const sender = credentials.verify(request.headers.get("authorization"), "POST", path, bytes);
  // A handler may take long: a copy at a slow pace is silent for longer than an idle connection may be.
  server?.timeout(request, 0);
  return { bytes, sender };
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
