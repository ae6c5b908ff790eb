/** The way round a cut link, at the masters: real engines behind real mailboxes, none of which a gateway need reach itself. */

import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { Elysia } from "elysia";
import { Passing } from "../../actors/master/passing.ts";
import { Refusal } from "../../actors/messages/errors.ts";
import { MasterMailbox, type Passed } from "../../actors/messages/master.ts";
import { listenOptions, SERVER_OPTIONS } from "../../actors/node/http/server-options.ts";
import type { Identity } from "../../actors/node/identity/identity.ts";
import { sharedSecret } from "../../actors/node/identity/signature.ts";
import { createLogger } from "../../actors/node/log.ts";
import { type Handlers, mailbox } from "../../actors/node/messaging/mailbox.ts";
import { send } from "../../actors/node/messaging/outbox.ts";
import { codeOf } from "../support/codes.ts";
import { EngineGroup } from "../support/engine-group.ts";
import { freePorts } from "../support/free-ports.ts";

const SECRET = "8".repeat(64);
const identities = new Map<string, Identity>();
/** One per sender, so that its messages share requests. */
function identityOf(nodeId: string): Identity {
  const identity = identities.get(nodeId) ?? {
    nodeId,
    credentials: sharedSecret(nodeId, SECRET),
    clusterId: () => null,
  };
  identities.set(nodeId, identity);
  return identity;
}
const log = createLogger("test", "silent");

let group: EngineGroup;
let urls: Map<string, string>;
let desks: Map<string, Passing>;
/** Who took what, and for whom. */
let taken: string[];
/** Until it resolves, no leader answers. */
let held: Promise<void>;
let stops: (() => unknown)[];

beforeEach(async () => {
  group = new EngineGroup({ timings: { heartbeatMs: 40, electionMs: 800 } });
  desks = new Map();
  taken = [];
  held = Promise.resolve();
  const ports = freePorts(group.members.length);
  urls = new Map(group.members.map(({ id }, n) => [id, `http://127.0.0.1:${ports[n]}`]));
  stops = group.members.map(({ id }) => serve(id));
  await group.untilLeader();
});
afterEach(() => {
  for (const stop of stops) stop();
  group.close();
});

function serve(id: string): () => unknown {
  const engine = group.engine(id);
  const identity = identityOf(id);
  const answer = async (message: Passed, gatewayId: string): Promise<unknown> => {
    if (!engine.raft.isReady) throw engine.notLeader();
    taken.push(`${id}: ${message.type} for ${gatewayId}`);
    await held;
    if (message.type === "EXECUTE") return engine.execute(message);
    await engine.confirmRead();
    if (message.type === "STAT") return { entry: engine.queries.stat(message.path), index: engine.appliedIndex };
    throw new Refusal("INTERNAL", "Not of this test");
  };
  const desk = new Passing({ identity, metadata: engine, urlOf: (other) => urls.get(other) ?? null, answer }, 60_000);
  desks.set(id, desk);
  const no = () => {
    throw new Refusal("INTERNAL", "Not of this test");
  };
  const handlers = {
    ...Object.fromEntries(Object.keys(MasterMailbox).map((type) => [type, no])),
    PASS_ON: ({ message }: { message: Passed }, sender: string) => desk.passOn(message, sender),
    PASSED_ON: (message: never, sender: string) => desk.take(message, sender),
  } as unknown as Handlers<typeof MasterMailbox>;
  const app = new Elysia(SERVER_OPTIONS)
    .use(mailbox(MasterMailbox, handlers, identity, log))
    .listen(listenOptions(urls.get(id) as string));
  return () => app.stop(true);
}

const leader = (): string => group.leader?.raft.state.id as string;
const followers = (): string[] => group.members.map(({ id }) => id).filter((id) => id !== leader());
const passOn = (via: string, message: Passed, sender = "gateway-1") =>
  send<typeof MasterMailbox, "PASS_ON">(
    identityOf(sender),
    urls.get(via) as string,
    { type: "PASS_ON", message },
    { timeoutMs: 20_000 },
  );
const untilFollowed = () =>
  group.until("the followers know their leader", () =>
    followers().every((id) => group.engine(id).raft.state.leaderId === leader()),
  );
const stat: Passed = { type: "STAT", path: "d" };
const command = (sessionId: number, seq: number, made: Extract<Passed, { type: "EXECUTE" }>["command"]): Passed => ({
  type: "EXECUTE",
  sessionId,
  seq,
  lowestUnacked: seq,
  idempotencyKey: null,
  command: made,
});
const openSession = async (via: string): Promise<number> => {
  const opened = await passOn(via, command(0, 0, { type: "OPEN_SESSION", clientId: "gateway-1" }));
  return (opened as { result: { value: { sessionId: number } } }).result.value.sessionId;
};

describe("F14. a master passes on to its leader what a gateway cannot bring there itself", () => {
  test("a command that comes by two followers takes effect once, and a read by either shows it; the leader knows for whom", async () => {
    await untilFollowed();
    const [one, other] = followers() as [string, string];
    const sessionId = await openSession(one);
    const make = command(sessionId, 1, { type: "MAKE_DIRECTORY", path: "d" });
    const answers = await Promise.all([passOn(one, make), passOn(other, make)]);
    expect(answers.map((answer) => (answer as { result: unknown }).result)).toEqual(
      Array(2).fill({ ok: true, value: { created: true } }),
    );
    for (const via of [one, other, leader()])
      expect(await passOn(via, stat)).toMatchObject({ entry: { kind: "directory" } });
    expect(new Set(taken.map((line) => line.split(":")[0]))).toEqual(new Set([leader()]));
    expect(taken.every((line) => line.endsWith("for gateway-1"))).toBe(true);
  });

  test("a message is passed on one hop: a master that does not lead refuses what was passed on, and any master what no master sent", async () => {
    await untilFollowed();
    const [one, other] = followers() as [string, string];
    const passed = (to: string, sender: string) =>
      codeOf(
        send<typeof MasterMailbox, "PASSED_ON">(identityOf(sender), urls.get(to) as string, {
          type: "PASSED_ON",
          gatewayId: "gateway-1",
          message: stat,
        }),
      );
    expect(await passed(other, one)).toBe("NOT_LEADER");
    expect(await passed(leader(), "gateway-1")).toBe("WRONG_NODE");
    expect(taken).toEqual([]);
    expect(await passed(leader(), one)).toBe("fine");
  });

  test("what is no question of a gateway is not passed on", async () => {
    await untilFollowed();
    const [one] = followers() as [string];
    const nested = { type: "PASS_ON", message: stat } as unknown as Passed;
    const heartbeat = { type: "HEARTBEAT", workerId: "worker-1" } as unknown as Passed;
    for (const message of [nested, heartbeat]) expect(await codeOf(passOn(one, message))).toBe("INVALID_MESSAGE");
  });

  test("a bounded number of messages is passed on at once; when the leader is replaced, all of them are told that they may try elsewhere", async () => {
    /** How 300 fared that were under way when the leader was replaced; null if an election cut it short. */
    const replaceUnder300 = async (): Promise<unknown> => {
      await untilFollowed();
      const [one, other] = followers() as [string, string];
      const release = Promise.withResolvers<void>();
      held = release.promise;
      taken = [];
      let told = 0;
      const many = Array.from({ length: 300 }, () => codeOf(passOn(one, stat)).finally(() => told++));
      const isFull = (): boolean => taken.length === 256;
      await group.until("those that fit are at the leader", () => isFull() || told > 44);
      const wasFull = isFull();
      await group.lead(other);
      desks.get(one)?.leaderChanged();
      const codes = Map.groupBy(await Promise.all(many), (code) => code);
      release.resolve();
      return wasFull
        ? { NOT_LEADER: codes.get("NOT_LEADER")?.length, OVERLOADED: codes.get("OVERLOADED")?.length }
        : null;
    };
    let fared: unknown = null;
    for (let tries = 0; tries < 10 && fared === null; tries++) fared = await replaceUnder300();
    expect(fared).toEqual({ NOT_LEADER: 256, OVERLOADED: 44 });
  });
});
