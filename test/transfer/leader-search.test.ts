/** How a gateway finds the leader among masters that know it, do not know it, or are wrong about it. */

import { afterEach, expect, spyOn, test } from "bun:test";
import { Elysia } from "elysia";
import { type ErrorCode, Refusal } from "../../actors/messages/errors.ts";
import { MasterMailbox } from "../../actors/messages/master.ts";
import { listenOptions, SERVER_OPTIONS } from "../../actors/node/http/server-options.ts";
import { sharedSecret } from "../../actors/node/identity/signature.ts";
import { createLogger } from "../../actors/node/log.ts";
import { type Handlers, mailbox } from "../../actors/node/messaging/mailbox.ts";
import { SYSTEM } from "../../gateway/access/principal.ts";
import { MasterClient } from "../../gateway/nodes/master-client.ts";
import { codeOf } from "../support/codes.ts";
import { freePorts } from "../support/free-ports.ts";
import { namesOf } from "../support/system-backend.ts";

const SECRET = "7".repeat(64);
const stops: (() => unknown)[] = [];
afterEach(() => {
  for (const stop of stops.splice(0)) stop();
});

interface Scripted {
  url: string;
  /** What it says to the next command or question; the last one for ever. */
  answers: (Refusal | "done")[];
  /** Sessions that it opens before it opens no more. */
  sessions: number;
  commands: { sessionId: number; seq: number }[];
}

const notLeader = (leaderUrl: string | null) => new Refusal("NOT_LEADER", "Another one leads", { leaderUrl });

/** Masters that answer as they are told, each question noted in the order of arrival. */
function scripted(count: number) {
  const asked: string[] = [];
  const masters = freePorts(count).map((port): Scripted => {
    const master: Scripted = { url: `http://127.0.0.1:${port}`, answers: ["done"], sessions: Infinity, commands: [] };
    const answer = (): void => {
      asked.push(master.url);
      const said = master.answers.length > 1 ? master.answers.shift() : master.answers[0];
      if (said instanceof Refusal) throw said;
    };
    const no = () => {
      throw new Refusal("INTERNAL", "Not of this test");
    };
    let sessions = 0;
    const handlers = {
      ...Object.fromEntries(Object.keys(MasterMailbox).map((type) => [type, no])),
      CLUSTER_STATE: () => ({ clusterId: "c", masters: [] }),
      STAT: () => {
        answer();
        return { entry: null, index: 1 };
      },
      EXECUTE: ({ command, sessionId, seq }: { command: { type: string }; sessionId: number; seq: number }) => {
        if (command.type === "OPEN_SESSION") {
          if (sessions >= master.sessions) throw new Refusal("WRONG_CLUSTER", "No session any more");
          return { result: { ok: true, value: { sessionId: ++sessions } }, index: 1 };
        }
        master.commands.push({ sessionId, seq });
        answer();
        return { result: { ok: true, value: { created: true } }, index: 1 };
      },
    } as unknown as Handlers<typeof MasterMailbox>;
    const identity = { nodeId: "master", credentials: sharedSecret("master", SECRET), clusterId: () => "c" };
    const app = new Elysia(SERVER_OPTIONS)
      .use(mailbox(MasterMailbox, handlers, identity, createLogger("test", "silent" as "debug")))
      .listen(listenOptions(master.url));
    stops.push(() => app.stop(true));
    return master;
  });
  const list = masters.map(({ url }, n) => ({ id: `master-${n + 1}`, url }));
  return { asked, masters, client: new MasterClient({ masters: list }, "gateway-1", SECRET) };
}

/** Pauses of the gateway, counted instead of measured. */
function pauses() {
  const sleep = spyOn(Bun, "sleep");
  stops.push(() => sleep.mockRestore());
  return () => sleep.mock.calls.length;
}

/** A master that is slow to answer, on a busy machine, is not gone round. */
function stopTime(): void {
  const clock = spyOn(performance, "now").mockReturnValue(performance.now());
  stops.push(() => clock.mockRestore());
}

test("65. masters that name each other as leader: three hops, a pause, then a random one, until the leader is found", async () => {
  const { asked, masters, client } = scripted(3);
  const [a, b, leader] = masters as [Scripted, Scripted, Scripted];
  a.answers = [notLeader(b.url)];
  b.answers = [notLeader(a.url)];
  const paused = pauses();
  stopTime();
  expect(await namesOf(client).stat("f")).toBeNull();
  expect(asked.slice(0, 4)).toEqual([a.url, b.url, a.url, b.url]);
  expect(asked.at(-1)).toBe(leader.url);
  expect(paused()).toBeGreaterThan(0);
  expect(asked.length).toBeLessThanOrEqual(4 * (paused() + 1));
});

test("65b. a hint to a leader that is right costs one hop and no pause", async () => {
  const { asked, masters, client } = scripted(3);
  const [a, , leader] = masters as [Scripted, Scripted, Scripted];
  a.answers = [notLeader(leader.url)];
  const paused = pauses();
  stopTime();
  await namesOf(client).stat("f");
  expect([asked, paused()]).toEqual([[a.url, leader.url], 0]);
  await namesOf(client).stat("f");
  expect(asked.at(-1)).toBe(leader.url);
});

test("65c. while nobody leads, each try is followed by a pause, and in the end that is told", async () => {
  const { asked, masters, client } = scripted(3);
  for (const master of masters) master.answers = [notLeader(null)];
  const paused = pauses();
  expect(await codeOf(client.ask({ type: "STAT", path: "f" }, { budgetMs: 600 }))).toBe("NO_LEADER");
  // The last pause may end too late for another try.
  expect([paused(), paused() + 1]).toContain(asked.length);
});

test("66c. a command whose answer was lost and whose session has ended is unknown, and is not sent under another session", async () => {
  const { masters, client } = scripted(1);
  const [only] = masters as [Scripted];
  only.answers = [new Refusal("NOT_READY", "lost"), new Refusal("SESSION_EXPIRED", "ended"), "done"];
  expect(await codeOf(namesOf(client).makeDirectory("d"))).toBe("OUTCOME_UNKNOWN");
  expect(only.commands).toEqual([
    { sessionId: 1, seq: 1 },
    { sessionId: 1, seq: 1 },
  ]);
  expect(await codeOf(namesOf(client).makeDirectory("e"))).toBe("fine");
  expect(only.commands.at(-1)).toEqual({ sessionId: 2, seq: 1 });
});

test("66d. a command that was refused for its session at the first try was not applied, and is run under a new one", async () => {
  const { masters, client } = scripted(1);
  const [only] = masters as [Scripted];
  only.answers = [new Refusal("SESSION_EXPIRED", "ended"), "done"];
  expect(await codeOf(namesOf(client).makeDirectory("d"))).toBe("fine");
  expect(only.commands.map(({ sessionId }) => sessionId)).toEqual([1, 2]);
});

test("commands that wait for their turn are let in one by one, and all are told when there is no session for them", async () => {
  const { masters, client } = scripted(1);
  const [only] = masters as [Scripted];
  const make = (n: number) => codeOf(namesOf(client).makeDirectory(`d${n}`));
  expect(new Set(await Promise.all(Array.from({ length: 300 }, (_, n) => make(n))))).toEqual(new Set(["fine"]));
  expect(only.commands.length).toBe(300);
  only.answers = [new Refusal("SESSION_EXPIRED", "ended")];
  only.sessions = 1;
  const told = await Promise.all(Array.from({ length: 4000 }, (_, n) => make(n)));
  expect(new Set(told)).toEqual(new Set(["NODES_DISAGREE"]));
});

for (const [first, told] of [
  ["OVERLOADED", "OVERLOADED"],
  ["NOT_READY", "OUTCOME_UNKNOWN"],
] satisfies [ErrorCode, ErrorCode][])
  test(`67${told === "OVERLOADED" ? "f" : "g"}. masters that stay overloaded: ${told} when the first try ended with ${first}`, async () => {
    const { masters, client } = scripted(1);
    const [only] = masters as [Scripted];
    only.answers = [new Refusal(first, "first"), new Refusal("OVERLOADED", "ever after")];
    const command = { type: "MAKE_DIRECTORY", path: "d" } as const;
    expect(await codeOf(client.execute(command, { by: SYSTEM, budgetMs: 3000 }))).toBe(told);
    expect(only.commands.length).toBeGreaterThan(1);
  });
