/**
 * Sends messages to other nodes. Messages that one turn of the event loop sends to one node share a request, a signature and
 * a response: under load a request costs more than the message in it. Each keeps its own deadline, answer, refusal and trace
 * context.
 */
import { Refusal } from "../../messages/errors.ts";
import { fitting } from "../../rules/fitting.ts";
import { refusalFrom, refusalOf } from "../http/answers.ts";
import { type Asking, type CallOptions, request } from "../http/request.ts";
import { wholeBody } from "../http/whole-body.ts";
import { decode, type Envelope, encode, WIRE_TYPE, WIRE_VERSION } from "../http/wire.ts";
import type { Identity } from "../identity/identity.ts";
import { CAUSE_HEADER, formatCause, noteAnswer, parseCause } from "../record/cause.ts";
import { pack } from "../trace/carry.ts";
import { type Span, startSpan } from "../trace/span.ts";
import { currentContext, inContext, type TraceContext } from "../trace/trace-context.ts";
import {
  BATCH,
  encodeLetters,
  type Letter,
  type LetterAnswer,
  MAX_FRAME_BYTES,
  MAX_LETTERS,
  MESSAGES,
  readAnswers,
} from "./batch-format.ts";
import type { AnswerOf, MailboxSchema, MessageOf } from "./mailbox.ts";

/** Messages of one request are together at most this long; a longer message travels alone. */
const MAX_SHARED_BYTES = 256 << 10;

/** One message on its way. */
interface Sending extends CallOptions {
  type: string;
  envelope: Uint8Array<ArrayBuffer>;
  /** What it is a part of. */
  context: TraceContext | undefined;
  resolve(answer: unknown): void;
  reject(refusal: unknown): void;
}

/** What this turn sends, per sender and receiver. */
const outgoing = new WeakMap<Identity, Map<string, Sending[]>>();

/**
 * Sends one message and waits for its answer.
 *
 * @param timeoutMs after this the outcome is unknown: TIMEOUT
 * @param apart in a request of its own, at once: for a message that must not share the fate or the length of others
 * @throws Refusal: the receiver's own, or PEER_UNREACHABLE if it could not be reached (`details.connectionRefused`: it
 *   has certainly not received the message), or TIMEOUT
 */
export function send<M extends MailboxSchema, T extends keyof M & string>(
  identity: Identity,
  url: string,
  message: MessageOf<M, T> & { type: T },
  { timeoutMs = 5000, signal, apart = false }: Partial<CallOptions> & { apart?: boolean } = {},
): Promise<AnswerOf<M, T>> {
  const envelope = encode([WIRE_VERSION, identity.clusterId(), message] satisfies Envelope);
  const { promise, resolve, reject } = Promise.withResolvers<AnswerOf<M, T>>();
  const span = startSpan(message.type, "client");
  const sending: Sending = {
    type: message.type,
    envelope,
    context: span ? span.context : currentContext(),
    timeoutMs,
    signal,
    resolve: resolve as Sending["resolve"],
    reject,
  };
  if (span) endWith(span, sending, url);
  if (apart || envelope.length > MAX_SHARED_BYTES) sendAlone(identity, url, sending);
  else queue(identity, url, sending);
  return promise;
}

/** The span ends with the answer, or with the refusal. */
function endWith(span: Span, sending: Sending, url: string): void {
  const { resolve, reject, type } = sending;
  const { hostname, port } = new URL(url);
  span.set({ "rpc.method": type, "server.address": hostname, "server.port": Number(port) });
  sending.resolve = (answer) => {
    span.end();
    resolve(answer);
  };
  sending.reject = (refusal) => {
    span.end(refusal);
    reject(refusal);
  };
}

function queue(identity: Identity, url: string, sending: Sending): void {
  let byUrl = outgoing.get(identity);
  if (!byUrl) {
    byUrl = new Map();
    outgoing.set(identity, byUrl);
  }
  const waiting = byUrl.get(url);
  if (waiting) waiting.push(sending);
  else {
    byUrl.set(url, [sending]);
    if (byUrl.size === 1) setImmediate(() => flush(identity));
  }
}

function flush(identity: Identity): void {
  const byUrl = outgoing.get(identity);
  outgoing.delete(identity);
  for (const [url, waiting] of byUrl ?? [])
    for (const batch of batches(waiting)) {
      if (batch.length === 1) sendAlone(identity, url, batch[0] as Sending);
      // Each letter carries what it is a part of; the batch is a part of nothing.
      else inContext(undefined, () => void sendTogether(identity, url, batch));
    }
}

function* batches(waiting: readonly Sending[]): Generator<Sending[]> {
  for (let rest = waiting; rest.length > 0; ) {
    const count = fitting(rest, ({ envelope }) => envelope.length, MAX_SHARED_BYTES, MAX_LETTERS);
    yield rest.slice(0, count);
    rest = rest.slice(count);
  }
}

function letterOf({ envelope, context }: Sending): Letter {
  const cause = context?.cause ? formatCause(context.cause) : null;
  const carried = pack(context);
  return carried ? [envelope, cause, carried] : [envelope, cause];
}

const signed = (identity: Identity, path: string, body: Uint8Array<ArrayBuffer>): Asking => ({
  method: "POST",
  body,
  headers: {
    "content-type": WIRE_TYPE,
    authorization: identity.credentials.sign("POST", path, body),
  },
});

function sendAlone(identity: Identity, url: string, sending: Sending): void {
  if (sending.context === currentContext()) void deliver(identity, url, sending);
  else inContext(sending.context, () => void deliver(identity, url, sending));
}

async function deliver(identity: Identity, url: string, sending: Sending): Promise<void> {
  const { type, envelope, resolve, reject } = sending;
  try {
    const init = signed(identity, MESSAGES, envelope);
    const read = async (response: Response): Promise<unknown> => {
      if (!response.ok) throw await refusalOf(response, url);
      const answer = decode(await wholeBody(response, MAX_FRAME_BYTES));
      noteAnswer(answer, parseCause(response.headers.get(CAUSE_HEADER)));
      return answer;
    };
    resolve(await request(`${url}${MESSAGES}`, init, sending, read, { who: url, what: type }));
  } catch (error) {
    reject(error);
  }
}

async function sendTogether(identity: Identity, url: string, batch: readonly Sending[]): Promise<void> {
  const allGivenUp = new AbortController();
  const close = (n: number): Sending | undefined => {
    const deadline = open.get(n);
    deadline?.end();
    open.delete(n);
    return deadline?.sending;
  };
  const giveUp = (n: number, refusal: Refusal): void => {
    close(n)?.reject(refusal);
    if (open.size === 0) allGivenUp.abort();
  };
  const open = new Map(batch.map((sending, n) => [n, new Deadline(sending, (refusal) => giveUp(n, refusal))]));
  const take = ([n, status, value, cause]: LetterAnswer): void => {
    const sending = close(n);
    if (status === 200) {
      noteAnswer(value, parseCause(cause));
      sending?.resolve(value);
    } else sending?.reject(refusalFrom({ status, value }, url));
  };
  try {
    const init = signed(identity, BATCH, encodeLetters(batch.map(letterOf)));
    const patience = { timeoutMs: Math.max(...batch.map(({ timeoutMs }) => timeoutMs)), signal: allGivenUp.signal };
    const read = async (response: Response): Promise<void> => {
      if (!response.ok) throw await refusalOf(response, url);
      for await (const answers of readAnswers(bodyOf(response))) for (const answer of answers) take(answer);
      if (open.size > 0) throw new Error("the answer ended before every message was answered");
    };
    await request(`${url}${BATCH}`, init, patience, read, { who: url, what: "a batch of messages" });
  } catch (error) {
    for (const n of [...open.keys()]) close(n)?.reject(error);
  }
}

/** A short answer costs less when it is taken whole. */
async function* bodyOf(response: Response): AsyncGenerator<Uint8Array, void> {
  if (response.headers.has("content-length")) yield await wholeBody(response, MAX_FRAME_BYTES);
  else yield* response.body as unknown as AsyncIterable<Uint8Array>;
}

/** Of one message in a batch: the others go on without it. */
class Deadline {
  readonly #timer: Timer;
  readonly #giveUp: () => void;

  constructor(
    readonly sending: Sending,
    giveUp: (refusal: Refusal) => void,
  ) {
    const { type, timeoutMs, signal } = sending;
    this.#timer = setTimeout(
      () => giveUp(new Refusal("TIMEOUT", `${type} was not answered within ${Math.round(timeoutMs)} ms`)),
      timeoutMs,
    );
    this.#giveUp = () => giveUp(new Refusal("PEER_UNREACHABLE", `${type} was given up`));
    if (signal?.aborted) queueMicrotask(this.#giveUp);
    signal?.addEventListener("abort", this.#giveUp);
  }

  end(): void {
    clearTimeout(this.#timer);
    this.sending.signal?.removeEventListener("abort", this.#giveUp);
  }
}

/** Codes after which the same message may be sent again, here or elsewhere, without harm. */
export const isRetryable = (error: unknown): boolean =>
  error instanceof Refusal &&
  ["PEER_UNREACHABLE", "TIMEOUT", "NOT_LEADER", "NOT_READY", "NO_LEADER", "OVERLOADED"].includes(error.code);

/**
 * The receiver takes no such message of this sender: their clocks, secrets, clusters or programs differ. The message had no
 * effect. Its content, and the client that caused it, are not at fault.
 */
export const isRefusedAsNode = (error: unknown): error is Refusal =>
  error instanceof Refusal &&
  ["UNAUTHENTICATED", "WRONG_CLUSTER", "WRONG_NODE", "DEAD_MASTER", "INVALID_MESSAGE", "PAYLOAD_TOO_LARGE"].includes(
    error.code,
  );
