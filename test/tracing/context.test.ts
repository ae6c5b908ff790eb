/** What a message carries of the request that it is a part of: alone, in a batch, and between programs of two versions. */
import { afterAll, beforeEach, expect, test } from "bun:test";
import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { systemClock } from "../../actors/node/clock.ts";
import { SERVER_OPTIONS, serve } from "../../actors/node/http/server-options.ts";
import { decode, encode, WIRE_VERSION } from "../../actors/node/http/wire.ts";
import { sharedSecret } from "../../actors/node/identity/signature.ts";
import { createLogger } from "../../actors/node/log.ts";
import { BATCH, encodeLetters, type Letter } from "../../actors/node/messaging/batch-format.ts";
import { type Handlers, mailbox } from "../../actors/node/messaging/mailbox.ts";
import { send } from "../../actors/node/messaging/outbox.ts";
import { continueAs } from "../../actors/node/record/cause.ts";
import { pack, unpack } from "../../actors/node/trace/carry.ts";
import { currentContext, inContext, outsideRequest, type TraceContext } from "../../actors/node/trace/trace-context.ts";
import { formatTraceparent, parseTraceparent } from "../../actors/node/trace/traceparent.ts";
import { freePorts } from "../support/free-ports.ts";

const SECRET = "7".repeat(64);
const identityOf = (nodeId: string) => ({
  nodeId,
  credentials: sharedSecret(nodeId, SECRET),
  clusterId: () => null,
});
const schema = {
  SAY: {
    message: Type.Object({ type: Type.Literal("SAY"), word: Type.String() }),
    answer: Type.Object({ word: Type.String() }),
  },
};

/** What the receiver's handlers ran in, by word, and what came on the wire. */
let heard = new Map<string, TraceContext | undefined>();
let requests: { path: string; headers: Headers }[] = [];
const handlers: Handlers<typeof schema> = {
  SAY: ({ word }) => {
    heard.set(word, currentContext());
    return { word };
  },
};
const url = `http://127.0.0.1:${freePorts(1)[0]}`;
const app = serve(
  new Elysia(SERVER_OPTIONS)
    .onRequest(({ request }) => {
      requests.push({ path: new URL(request.url).pathname, headers: request.headers });
    })
    .use(mailbox(schema, handlers, identityOf("receiver"), createLogger("receiver", "silent" as "debug"))),
  url,
);
afterAll(() => app.stop(true).then(() => {}));
beforeEach(() => {
  heard = new Map();
  requests = [];
});

const sender = identityOf("sender");
const say = (word: string) => send<typeof schema, "SAY">(sender, url, { type: "SAY", word });
const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const contextOf = (n: number, state: string | null = null): TraceContext => ({
  span: { traceId: TRACE, spanId: `00f067aa0ba902b${n}`, flags: 1, state, isRemote: false },
  requestId: `request-${n}`,
  cause: { id: `sender/1/${n}`, h: "0193a5c2d1f00002" },
});
/** The same at the other end. */
const arrived = ({ span, ...rest }: TraceContext) => ({ ...rest, span: span && { ...span, isRemote: true } });

test("a message alone carries trace, request and cause of its sender", async () => {
  const context = contextOf(1, "vendor=value");
  await inContext(context, () => say("a"));
  expect(requests.map(({ path }) => path)).toEqual(["/messages"]);
  expect(heard.get("a")).toEqual(arrived(context));
});

test("each letter of a batch carries its own context, and the batch none", async () => {
  const contexts = [contextOf(1), undefined, contextOf(3, "vendor=value")];
  await Promise.all(contexts.map((context, n) => inContext(context, () => say(String(n)))));
  expect(requests.map(({ path }) => path)).toEqual([BATCH]);
  expect(requests[0]?.headers.get("traceparent")).toBeNull();
  expect(contexts.map((_, n) => heard.get(String(n)))).toEqual(contexts.map((context) => context && arrived(context)));
});

test("without a request there is nothing on the wire but what there was before", async () => {
  await say("a");
  for (const name of ["traceparent", "tracestate", "x-request-id", "x-cause"])
    expect(requests[0]?.headers.has(name)).toBe(false);
  await Promise.all([say("b"), say("c")]);
  expect([...heard.values()]).toEqual([undefined, undefined, undefined]);
  expect(pack(undefined)).toBeUndefined();
  expect(pack({ span: undefined, requestId: undefined, cause: contextOf(1).cause })).toBeUndefined();
});

const envelope = (word: string) => encode([WIRE_VERSION, null, { type: "SAY", word }]);
const post = (letters: unknown[]) => {
  const body = encode(letters);
  const authorization = sender.credentials.sign("POST", BATCH, body);
  return fetch(`${url}${BATCH}`, { method: "POST", body, headers: { authorization } });
};

test("letters of an older program, which have two parts, are taken", async () => {
  expect(
    (
      await post([
        [envelope("a"), null],
        [envelope("b"), "sender/1/7@0193a5c2d1f00002"],
      ])
    ).status,
  ).toBe(200);
  expect(heard.get("a")).toBeUndefined();
  expect(heard.get("b")).toEqual({
    span: undefined,
    requestId: undefined,
    cause: { id: "sender/1/7", h: "0193a5c2d1f00002" },
  });
});

test("a third part that is no context is taken for none, and the letter is answered", async () => {
  const strange = [7, "text", {}, [1, 2, 3], ["00-0-0-00", null, "no id"], [null, null, "x".repeat(99)], null, []];
  expect((await post(strange.map((part, n) => [envelope(String(n)), null, part]))).status).toBe(200);
  expect([...heard.values()]).toEqual(strange.map(() => undefined));
});

/** The check and the use of letters in the program before this one. */
function takenByOlderProgram(bytes: Uint8Array): [Uint8Array, string | null][] | null {
  const letters = decode(bytes) as unknown[];
  const isLetter = (one: unknown): boolean =>
    Array.isArray(one) && one[0] instanceof Uint8Array && (one[1] === null || typeof one[1] === "string");
  if (!Array.isArray(letters) || letters.length === 0 || !letters.every(isLetter)) return null;
  return (letters as Letter[]).map(([envelope, cause]) => [envelope, cause]);
}

test("an older program takes letters with a context, and sees what it knows", () => {
  const letters: Letter[] = [
    [envelope("a"), "sender/1/7@0193a5c2d1f00002", pack(contextOf(1))],
    [envelope("b"), null],
  ];
  expect(takenByOlderProgram(encodeLetters(letters))).toEqual([
    [envelope("a"), "sender/1/7@0193a5c2d1f00002"],
    [envelope("b"), null],
  ]);
});

test("what is packed comes out as it was", () => {
  for (const context of [contextOf(1), contextOf(2, "a=1,b=2"), { ...contextOf(3), span: undefined }])
    expect(unpack(pack(context), "sender/1/9@0193a5c2d1f00002")).toEqual({
      ...arrived(context),
      cause: { id: "sender/1/9", h: "0193a5c2d1f00002" },
    });
});

test("a traceparent is taken as the W3C says: any later version, no version ff, no zero ids, lower case alone", () => {
  const parent = `00-${TRACE}-00f067aa0ba902b7-01`;
  const read = (text: string, state: string | null = null) => parseTraceparent(text, state);
  expect(read(parent)).toMatchObject({ traceId: TRACE, spanId: "00f067aa0ba902b7", flags: 1 });
  expect(formatTraceparent(read(parent) as NonNullable<ReturnType<typeof read>>)).toBe(parent);
  expect(read(`cc-${TRACE}-00f067aa0ba902b7-01-more`)).toMatchObject({ traceId: TRACE });
  for (const wrong of [
    `ff-${TRACE}-00f067aa0ba902b7-01`,
    `00-${TRACE}-00f067aa0ba902b7-01-more`,
    `00-${TRACE.toUpperCase()}-00f067aa0ba902b7-01`,
    `00-${"0".repeat(32)}-00f067aa0ba902b7-01`,
    `00-${TRACE}-${"0".repeat(16)}-01`,
    `00-${TRACE}-00f067aa0ba902b7`,
    `00-${TRACE.slice(1)}-00f067aa0ba902b7-01`,
    "",
  ])
    expect([wrong, read(wrong)]).toEqual([wrong, undefined]);
  const stateOf = (state: string) => read(parent, state)?.state;
  expect(stateOf("a=1, b@c=x y")).toBe("a=1,b@c=x y");
  for (const dropped of ["A=1", "a", "a=", "a=1=2", `a=${"x".repeat(600)}`, "a=\u00e4", ",,"])
    expect([dropped, stateOf(dropped)]).toEqual([dropped, null]);
});

test("what serves many requests leaves the request that it begins in, and keeps its cause", () => {
  const later = { id: "sender/1/9", h: "0193a5c2d1f00003" };
  inContext(contextOf(1), () => {
    outsideRequest(() => {
      expect(currentContext()).toEqual({ span: undefined, requestId: undefined, cause: contextOf(1).cause });
      continueAs(later);
    });
    expect(currentContext()).toEqual({ ...contextOf(1), cause: later });
  });
  expect(currentContext()).toBeUndefined();
});

test("a node's timer is no part of the request that armed it", async () => {
  const rang = Promise.withResolvers<TraceContext | undefined>();
  inContext(contextOf(1), () => systemClock.setTimeout(() => rang.resolve(currentContext()), 0));
  expect(await rang.promise).toEqual({ span: undefined, requestId: undefined, cause: contextOf(1).cause });
});
