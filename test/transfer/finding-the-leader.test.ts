/** The gateway's line to three masters of which one leads, or none: what it tells of a command, and when. */
import { afterEach, beforeEach, expect, test } from "bun:test";
import { Elysia } from "elysia";
import { Refusal } from "../../actors/messages/errors.ts";
import { MasterMailbox } from "../../actors/messages/master.ts";
import { createLogger } from "../../actors/node/log.ts";
import { type Handlers, listenOptions, mailbox, SERVER_OPTIONS } from "../../actors/node/mailbox.ts";
import { MasterClient } from "../../gateway/cluster/master-client.ts";
import { freePorts } from "../support/free-ports.ts";

const SECRET = "ab".repeat(32);

/** Answers as the test says; asked for anything else, it does not lead. */
class Master {
  readonly url: string;
  readonly #server: { stop(closeActive?: boolean): unknown };
  role = "follower";
  term = 1;
  taken: string[] = [];
  execute: () => unknown = () => {
    throw notLeader(true);
  };

  constructor(
    readonly id: string,
    port: number,
  ) {
    this.url = `http://127.0.0.1:${port}`;
    const handlers: unknown = {
      ...Object.fromEntries(Object.keys(MasterMailbox).map((type) => [type, () => this.#whoLeads()])),
      MASTER_STATUS: () => ({ id, url: this.url, role: this.role, term: this.term, leader: null }),
      CLUSTER_STATE: () => this.#whoLeads() ?? { clusterId: "c", masters: [] },
      EXECUTE: ({ command }: { command: { type: string } }) => {
        if (command.type === "OPEN_SESSION") return this.#whoLeads() ?? accepted({ sessionId: 7 });
        this.taken.push(command.type);
        return this.execute();
      },
    };
    const identity = { nodeId: id, secret: SECRET, clusterId: () => null };
    const log = createLogger(id, "silent");
    this.#server = new Elysia(SERVER_OPTIONS)
      .use(mailbox(MasterMailbox, handlers as Handlers<typeof MasterMailbox>, identity, log))
      .listen(listenOptions(this.url));
  }

  #whoLeads(): null {
    if (this.role !== "leader") throw notLeader(true);
    return null;
  }

  stop(): void {
    this.#server.stop(true);
  }
}

const notLeader = (notTaken: boolean): Refusal => new Refusal("NOT_LEADER", "No leader is known here", { notTaken });
const accepted = (value: unknown) => ({ result: { ok: true, value }, index: 1 });
const never = (): Promise<never> => new Promise(() => {});

let masters: Master[];
let client: MasterClient;
beforeEach(() => {
  masters = freePorts(3).map((port, n) => new Master(`master-${n + 1}`, port));
  client = new MasterClient({ masters: masters.map(({ id, url }) => ({ id, url })) }, "gateway-1", SECRET);
});
afterEach(() => {
  for (const master of masters) master.stop();
});

const [first, second] = [() => masters[0] as Master, () => masters[1] as Master];
const makeDirectory = (budgetMs: number) =>
  client
    .execute({ type: "MAKE_DIRECTORY", path: "d" }, { budgetMs })
    .then(({ created }) => `created: ${created}`)
    .catch((refusal: Refusal) => `${refusal.status} ${refusal.code}`);
const openSession = async () => {
  first().role = "leader";
  first().execute = () => accepted({ created: true });
  expect(await makeDirectory(5000)).toBe("created: true");
  first().role = "follower";
  for (const master of masters) master.taken = [];
};

test("a command that no master would take has certainly no effect, and that is told", async () => {
  await openSession();
  first().execute = () => {
    throw notLeader(true);
  };
  expect(await makeDirectory(400)).toBe("503 NO_LEADER");
});

test("once one master may have taken it, its outcome is unknown, whatever others say after that", async () => {
  for (const last of [notLeader(true), new Refusal("OVERLOADED", "Too much to do")]) {
    await openSession();
    let asked = 0;
    for (const master of masters)
      master.execute = () => {
        throw asked++ === 0 ? notLeader(false) : last;
      };
    expect(await makeDirectory(600)).toBe("504 OUTCOME_UNKNOWN");
    expect(asked).toBeGreaterThan(1);
  }
});

test("refused for too much work each time, it is told so", async () => {
  await openSession();
  first().execute = () => {
    throw new Refusal("OVERLOADED", "Too much to do");
  };
  expect(await makeDirectory(400)).toBe("503 OVERLOADED");
});

test("a leader that takes a command and falls silent is left as soon as another one leads", async () => {
  await openSession();
  first().role = "leader";
  first().execute = never;
  second().execute = () => accepted({ created: true });
  const made = makeDirectory(4000);
  await Bun.sleep(1500);
  expect(second().taken).toEqual([]);
  second().role = "leader";
  second().term = 2;
  expect(await made).toBe("created: true");
  expect([first().taken, second().taken]).toEqual([["MAKE_DIRECTORY"], ["MAKE_DIRECTORY"]]);
}, 10_000);

test("a leader that is merely slow is waited for", async () => {
  await openSession();
  first().role = "leader";
  first().execute = () => Bun.sleep(1800).then(() => accepted({ created: true }));
  expect(await makeDirectory(4000)).toBe("created: true");
  expect(masters.map(({ taken }) => taken.length)).toEqual([1, 0, 0]);
}, 10_000);
