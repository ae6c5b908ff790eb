/** Messages between two nodes: alone, and several of one moment in one request. */
import { afterAll, beforeEach, expect, test } from "bun:test";
import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { Refusal } from "../../actors/messages/errors.ts";
import { listenOptions, SERVER_OPTIONS } from "../../actors/node/http/server-options.ts";
import { decode, encode, WIRE_VERSION } from "../../actors/node/http/wire.ts";
import { sharedSecret, sign } from "../../actors/node/identity/signature.ts";
import { createLogger } from "../../actors/node/log.ts";
import {
  BATCH,
  encodeAnswers,
  encodeLetters,
  MAX_LETTERS,
  readAnswers,
} from "../../actors/node/messaging/batch-format.ts";
import { type Handlers, mailbox } from "../../actors/node/messaging/mailbox.ts";
import { send } from "../../actors/node/messaging/outbox.ts";
import { becauseOf, continueAs, currentCause, withCause } from "../../actors/node/record/cause.ts";
import { codeOf } from "../support/codes.ts";
import { freePorts } from "../support/free-ports.ts";

const SECRET = "7".repeat(64);
const CLUSTER_ID = "cluster-of-the-test";
const Word = Type.Object({ word: Type.String() });
const schema = {
  SAY: { message: Type.Object({ type: Type.Literal("SAY"), word: Type.String() }), answer: Word },
  REFUSE: { message: Type.Object({ type: Type.Literal("REFUSE") }), answer: Word },
  WAIT: { message: Type.Object({ type: Type.Literal("WAIT"), gate: Type.String() }), answer: Word },
};

const [port] = freePorts(1);
const url = `http://127.0.0.1:${port}`;
/** What the receiver saw, in order. */
let requests: string[] = [];
let heard: string[] = [];
const gates = new Map<string, PromiseWithResolvers<void>>();
const gate = (name: string) => {
  const known = gates.get(name) ?? Promise.withResolvers<void>();
  gates.set(name, known);
  return known;
};
const handlers: Handlers<typeof schema> = {
  SAY: ({ word }, sender) => {
    heard.push(`${sender} ${word} ${currentCause()?.id ?? ""}`.trim());
    const cause = currentCause();
    if (cause) continueAs({ ...cause, id: `${cause.id}0` });
    return { word };
  },
  REFUSE: () => {
    throw new Refusal("NO_SUCH_FILE", "there is none", { asked: 1 });
  },
  WAIT: async ({ gate: name }) => {
    heard.push(`waits for ${name}`);
    gate(`${name} is waited for`).resolve();
    await gate(name).promise;
    return { word: name };
  },
};
const app = new Elysia(SERVER_OPTIONS)
  .onRequest(({ request }) => {
    requests.push(new URL(request.url).pathname);
  })
  .use(
    mailbox(
      schema,
      handlers,
      { nodeId: "receiver", credentials: sharedSecret("receiver", SECRET), clusterId: () => CLUSTER_ID },
      createLogger("receiver", "silent" as "debug"),
    ),
  )
  .listen(listenOptions(url));
afterAll(() => app.stop(true).then(() => {}));
beforeEach(() => {
  requests = [];
  heard = [];
  gates.clear();
});

const sender = { nodeId: "sender", credentials: sharedSecret("sender", SECRET), clusterId: () => CLUSTER_ID };
const say = (word: string, options = {}) => send<typeof schema, "SAY">(sender, url, { type: "SAY", word }, options);
const refuse = () => send<typeof schema, "REFUSE">(sender, url, { type: "REFUSE" });
const wait = (name: string, options = {}) =>
  send<typeof schema, "WAIT">(sender, url, { type: "WAIT", gate: name }, options);

test("messages of one moment share a request, and each gets its own answer", async () => {
  const answers = await Promise.allSettled([say("a"), refuse(), say("b")]);
  expect(requests).toEqual([BATCH]);
  expect(heard).toEqual(["sender a", "sender b"]);
  expect(answers).toEqual([
    { status: "fulfilled", value: { word: "a" } },
    { status: "rejected", reason: new Refusal("NO_SUCH_FILE", "there is none", { asked: 1 }) },
    { status: "fulfilled", value: { word: "b" } },
  ]);
});

test("a message that nobody accompanies travels as it is", async () => {
  expect(await say("a")).toEqual({ word: "a" });
  expect(await say("b")).toEqual({ word: "b" });
  expect(requests).toEqual(["/messages", "/messages"]);
});

test("one that must stay apart, and one that is long, share with nobody", async () => {
  const long = "x".repeat(300_000);
  await Promise.all([say("a"), say("b"), say("c", { apart: true }), say(long)]);
  expect(requests.sort()).toEqual(["/messages", "/messages", BATCH]);
});

test("a crowd is cut into requests of a bounded size", async () => {
  const words = Array.from({ length: 2 * MAX_LETTERS + 1 }, (_, n) => String(n));
  expect(await Promise.all(words.map((word) => say(word)))).toEqual(words.map((word) => ({ word })));
  expect(requests.sort()).toEqual(["/messages", BATCH, BATCH]);

  requests = [];
  await Promise.all(Array.from({ length: 5 }, () => say("x".repeat(120_000))));
  expect(requests.sort()).toEqual(["/messages", BATCH, BATCH]);
});

test("one whose answer takes long holds up no other", async () => {
  const slow = wait("later");
  const slower = wait("last");
  expect(await Promise.all([say("a"), say("b")])).toEqual([{ word: "a" }, { word: "b" }]);
  gate("later").resolve();
  expect(await slow).toEqual({ word: "later" });
  gate("last").resolve();
  expect(await slower).toEqual({ word: "last" });
  expect(requests).toEqual([BATCH]);
});

test("a deadline ends its own message and no other", async () => {
  const late = wait("never", { timeoutMs: 20 });
  const patient = wait("open");
  expect(await codeOf(late)).toBe("TIMEOUT");
  gate("open").resolve();
  expect(await patient).toEqual({ word: "open" });
});

test("one that is given up is alone in that", async () => {
  const before = AbortSignal.abort();
  const during = new AbortController();
  const givenUp = codeOf(wait("never", { signal: during.signal }));
  const neverSent = codeOf(say("a", { signal: before }));
  const other = wait("open");
  await gate("never is waited for").promise;
  during.abort();
  expect([await givenUp, await neverSent]).toEqual(["PEER_UNREACHABLE", "PEER_UNREACHABLE"]);
  gate("open").resolve();
  expect(await other).toEqual({ word: "open" });
});

test("answers that nobody waits for any more go nowhere, and the receiver goes on", async () => {
  const before = new AbortController();
  const during = new AbortController();
  const unanswered = [wait("a", { signal: before.signal }), wait("b", { signal: before.signal })].map(codeOf);
  await gate("b is waited for").promise;
  before.abort();
  const halfAnswered = codeOf(wait("c", { signal: during.signal }));
  expect(await say("answered beside it")).toEqual({ word: "answered beside it" });
  during.abort();
  expect(new Set(await Promise.all([...unanswered, halfAnswered]))).toEqual(new Set(["PEER_UNREACHABLE"]));
  for (const name of ["a", "b", "c"]) gate(name).resolve();
  expect(await Promise.all([say("d"), say("e")])).toEqual([{ word: "d" }, { word: "e" }]);
});

test("where nobody listens, each is told that nothing was received", async () => {
  const [nobody] = freePorts(1);
  const there = `http://127.0.0.1:${nobody}`;
  const lost = await Promise.allSettled(
    ["a", "b"].map((word) => send<typeof schema, "SAY">(sender, there, { type: "SAY", word })),
  );
  for (const outcome of lost) {
    const { code, details } = (outcome as PromiseRejectedResult).reason as Refusal;
    expect([code, details]).toEqual(["PEER_UNREACHABLE", { connectionRefused: true }]);
  }
});

test("a connection that breaks loses the answers that were not there yet, and says that they may have been received", async () => {
  const [port] = freePorts(1);
  const there = `http://127.0.0.1:${port}`;
  const firstCame = Promise.withResolvers<void>();
  const half = encodeAnswers([[0, 200, { word: "a" }, null]]);
  const cut = Bun.listen({
    hostname: "127.0.0.1",
    port: port as number,
    socket: {
      data(socket) {
        socket.write(`HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n${half.length.toString(16)}\r\n`);
        socket.write(half);
        socket.write("\r\n");
        socket.flush();
        void firstCame.promise.then(() => socket.terminate());
      },
    },
  });
  const [first, second] = await Promise.allSettled(
    ["a", "b"].map((word) =>
      send<typeof schema, "SAY">(sender, there, { type: "SAY", word }).then((answer) => {
        firstCame.resolve();
        return answer;
      }),
    ),
  );
  expect(first).toEqual({ status: "fulfilled", value: { word: "a" } });
  const { code, details } = (second as PromiseRejectedResult).reason as Refusal;
  expect([code, details.connectionRefused]).toEqual(["PEER_UNREACHABLE", false]);
  cut.stop(true);
});

test("each carries the record that it follows from, and brings back the one that stands behind its answer", async () => {
  const h = "0193a5c2d1f00002";
  const [a, b] = await Promise.all([
    withCause({ id: "sender/1/1", h }, () => say("a")),
    withCause({ id: "sender/1/2", h }, () => say("b")),
  ]);
  expect(heard).toEqual(["sender a sender/1/1", "sender b sender/1/2"]);
  expect(becauseOf(a, () => currentCause()?.id)).toBe("sender/1/10");
  expect(becauseOf(b, () => currentCause()?.id)).toBe("sender/1/20");
});

const post = async (body: Uint8Array<ArrayBuffer>, secret = SECRET, path: string = BATCH) => {
  const authorization = sign(secret, "sender", "POST", path, body);
  const response = await fetch(`${url}${BATCH}`, { method: "POST", body, headers: { authorization } });
  return { status: response.status, bytes: new Uint8Array(await response.arrayBuffer()) };
};
const letter = (clusterId: string, message: { type: string; word?: unknown }): [Uint8Array, null] => [
  encode([WIRE_VERSION, clusterId, message]),
  null,
];

test("an unsigned batch, or one signed as something else, reaches no handler", async () => {
  const body = encodeLetters([letter(CLUSTER_ID, { type: "SAY", word: "a" })]);
  expect((await post(body, "8".repeat(64))).status).toBe(401);
  expect((await post(body, SECRET, "/messages")).status).toBe(401);
  expect((await fetch(`${url}${BATCH}`, { method: "POST", body })).status).toBe(401);
  expect(heard).toEqual([]);
});

test("what is wrong with one letter is told of that one", async () => {
  const { status, bytes } = await post(
    encodeLetters([
      letter(CLUSTER_ID, { type: "SAY", word: "a" }),
      letter("another", { type: "SAY", word: "b" }),
      letter(CLUSTER_ID, { type: "SAY", word: 5 }),
      letter(CLUSTER_ID, { type: "SING" }),
      [new Uint8Array([0xc1]), null],
    ]),
  );
  expect(status).toBe(200);
  const answers = (await Array.fromAsync(readAnswers(asPieces(bytes, bytes.length)))).flat();
  const codes = answers.sort(([a], [b]) => a - b).map(([, code, value]) => [code, (value as { code?: string }).code]);
  expect(codes).toEqual([
    [200, undefined],
    [403, "WRONG_CLUSTER"],
    [400, "INVALID_MESSAGE"],
    [400, "INVALID_MESSAGE"],
    [400, "INVALID_MESSAGE"],
  ]);
  expect(heard).toEqual(["sender a"]);
});

test("a body that is no batch is refused whole", async () => {
  const one = letter(CLUSTER_ID, { type: "SAY", word: "a" });
  const wrong = [
    new Uint8Array([0xc1]),
    encode("a"),
    encode([]),
    encode([["a", null]]),
    encode([[one[0], 5]]),
    encodeLetters(Array.from({ length: MAX_LETTERS + 1 }, () => one)),
  ];
  for (const body of wrong) {
    const { status, bytes } = await post(body);
    expect([status, (decode(bytes) as { code: string }).code]).toEqual([400, "INVALID_MESSAGE"]);
  }
  const long = new Uint8Array((4 << 20) + 1);
  expect((await post(long)).status).toBe(413);
  expect(heard).toEqual([]);
});

async function* asPieces(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

test("answers are read whatever the pieces in which they come", async () => {
  const frames = [
    encodeAnswers([
      [1, 200, { word: "b" }, null],
      [0, 404, { code: "NO_SUCH_FILE" }, "a/1/1@0193a5c2d1f00002"],
    ]),
    encodeAnswers([[2, 200, { word: "c".repeat(300) }, null]]),
  ];
  const whole = Buffer.concat(frames);
  for (const size of [1, 2, 3, 5, 64, whole.length]) {
    const read = await Array.fromAsync(readAnswers(asPieces(whole, size)));
    expect(read.flat().map(([n]) => n)).toEqual([1, 0, 2]);
  }
  for (const cut of [1, 3, 5, whole.length - 1])
    await expect(Array.fromAsync(readAnswers(asPieces(whole.subarray(0, cut), 7)))).rejects.toThrow("cut off");
  await expect(Array.fromAsync(readAnswers(asPieces(Buffer.from("HTTP/1.1 200 OK"), 7)))).rejects.toThrow("a frame of");
});
