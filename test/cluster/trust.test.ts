/** S3: what one node may make the others believe. The attacks run against real processes. */
import { Database } from "bun:sqlite";
import { afterAll, expect, test } from "bun:test";
import { join } from "node:path";
import { MasterMailbox } from "../../actors/messages/master.ts";
import { MAX_TERM } from "../../actors/messages/primitives.ts";
import type { RaftMessageOf } from "../../actors/messages/raft.ts";
import { RecordsMailbox } from "../../actors/messages/records.ts";
import { MESSAGE_SENDERS } from "../../actors/messages/senders.ts";
import { WorkerMailbox } from "../../actors/messages/worker.ts";
import type { Identity } from "../../actors/node/identity/identity.ts";
import { loadSecret } from "../../actors/node/identity/secret.ts";
import { blockContent, sharedSecret, sign } from "../../actors/node/identity/signature.ts";
import { ExitCode } from "../../actors/node/lifecycle.ts";
import type { MailboxSchema } from "../../actors/node/messaging/mailbox.ts";
import { send } from "../../actors/node/messaging/outbox.ts";
import { until } from "../support/fair-time.ts";
import { RealCluster } from "../support/real-cluster.ts";

const cluster = await RealCluster.start({ masters: 3, workers: 3 });
afterAll(() => cluster.stop());
const secret = loadSecret(cluster.config.dataDirectory);
const NEVER = Number.MAX_SAFE_INTEGER;

/** Sends a message to one node, signed as another would. @returns the code of its refusal, or "taken" */
const tell = (to: string, as: string, message: { type: string } & Record<string, unknown>): Promise<string> => {
  const identity: Identity = { nodeId: as, credentials: sharedSecret(as, secret), clusterId: () => null };
  return send<MailboxSchema, string>(identity, cluster.urlOf(to), message).then(
    () => "taken",
    (error) => error.code,
  );
};

const vote = (from: string, to: string, term: number): RaftMessageOf<"rpc.vote"> => ({
  ...{ type: "rpc.vote", from, to, term },
  ...{ lastIndex: NEVER, lastTerm: Math.min(term, MAX_TERM), transfer: true },
});
const raft = (message: RaftMessageOf<"rpc.vote">, incarnation: string) => ({
  ...{ type: "RAFT", url: "http://127.0.0.1:9", incarnation, expects: null },
  messages: [message],
});
const orders = (term: number) => [
  { type: "TRASH_CHUNKS", term, expiresAt: NEVER, orderId: "1", decidedAt: NEVER, chunkIds: [1, 2, 3, 4, 5, 6] },
  { type: "VERIFY_CHUNK", term, expiresAt: NEVER, chunkId: 1, lengthBytes: 1, crc32: 1 },
];

const leads = async (): Promise<{ leader: string; term: number }> => {
  const { leader, term } = await cluster.view();
  return { leader: leader as string, term };
};
const put = (path: string) => cluster.client.put(path, `what ${path} holds`);
const text = async (path: string) => new Response((await cluster.client.get(path)).body).text();

test("S3. a vote of a term that no election reaches moves no master, whoever signs it", async () => {
  const before = await leads();
  const { masters } = cluster.config;
  const incarnations = new Map<string, string>();
  for (const { id } of masters)
    incarnations.set(id, (await cluster.ask(id, { type: "MASTER_STATUS" })).incarnation as string);
  const outcomes: string[] = [];
  for (const { id: to } of masters) {
    const other = masters.find(({ id }) => id !== to)?.id as string;
    const own = incarnations.get(other) as string;
    for (const term of [2 ** 53 - 1, MAX_TERM, before.term + 2 ** 20 + 1]) {
      outcomes.push(await tell(to, "worker-1", raft(vote("worker-1", to, term), own)));
      outcomes.push(await tell(to, "gateway-1", raft(vote("gateway-1", to, term), own)));
      outcomes.push(await tell(to, "stranger", raft(vote("stranger", to, term), own)));
      outcomes.push(await tell(to, other, raft(vote(other, to, term), own)));
      outcomes.push(await tell(to, "worker-1", raft(vote(other, to, term), own)));
    }
  }
  expect([...new Set(outcomes)].sort()).toEqual(["IMPLAUSIBLE_TERM", "INVALID_MESSAGE", "WRONG_SENDER"]);
  await put("after-the-votes");
  expect(await leads()).toEqual(before);
});

test("S3. no node but a master gives orders, and no master of a term that no election reaches", async () => {
  await put("kept");
  const { term } = await leads();
  const refusals = async (as: string, ofTerm: number) =>
    Promise.all(orders(ofTerm).map((order) => tell("worker-1", as, order)));
  for (const as of ["worker-2", "gateway-1", "stranger"])
    for (const ofTerm of [term, MAX_TERM])
      expect([as, await refusals(as, ofTerm)]).toEqual([as, ["WRONG_SENDER", "WRONG_SENDER"]]);
  expect(await refusals("master-1", MAX_TERM)).toEqual(["IMPLAUSIBLE_TERM", "IMPLAUSIBLE_TERM"]);
  expect(await refusals("master-1", 2 ** 53 - 1)).toEqual(["INVALID_MESSAGE", "INVALID_MESSAGE"]);
  expect(await text("kept")).toBe("what kept holds");
  // The leader that there is was not shut out.
  const [{ id = "" } = {}] = cluster.config.workers;
  await cluster.until("it is heard", 20_000, async () =>
    (await cluster.view()).workers.some((worker) => worker.id === id && worker.state === "live"),
  );
});

test("S3. a worker registers, beats and reconciles for itself alone, a gateway commands in its own session", async () => {
  await put("opens-a-session");
  const { leader } = await leads();
  const of = { incarnation: "x".repeat(16), epoch: NEVER };
  const space = { capacityBytes: 1, freeBytes: 1 };
  const register = { type: "REGISTER", url: "http://127.0.0.1:9", zone: "z", clusterId: null, ...of, ...space };
  const heartbeat = {
    ...{ type: "HEARTBEAT", ...of, ...space, condition: "normal", trashBytes: 0, mode: "active", chunkCount: 0 },
    ...{ openChunks: 0, load: 0, badReplicas: [{ chunkId: 1, state: "missing" }], idleOpenChunks: [] },
  };
  const reconcile = { type: "RECONCILE", ...of, fromId: 0, toId: NEVER, count: 0, digest: "", chunks: [] };
  for (const message of [register, heartbeat, reconcile])
    for (const as of ["worker-3", "gateway-1", "master-2", "stranger"])
      expect([message.type, as, await tell(leader, as, { ...message, workerId: "worker-1" })]).toEqual([
        message.type,
        as,
        "WRONG_SENDER",
      ]);
  const command = { type: "MAKE_DIRECTORY", path: "forged" };
  const execute = { type: "EXECUTE", seq: 1, lowestUnacked: 1, idempotencyKey: null };
  const opening = { ...execute, sessionId: 0, command: { type: "OPEN_SESSION", clientId: "gateway-1" } };
  expect(await tell(leader, "stranger", opening)).toBe("WRONG_SENDER");
  const db = new Database(join(cluster.dataOf(leader), "dfs_metadata.db"), { readonly: true });
  const sessions = () => db.query("SELECT id FROM sessions WHERE client = 'gateway-1'").all() as { id: number }[];
  await until("the gateway's session is in the leader's file", async () => sessions().length > 0);
  const [{ id: sessionId }] = sessions() as [{ id: number }];
  db.close();
  expect(await tell(leader, "stranger", { ...execute, sessionId, command })).toBe("WRONG_SENDER");
  expect(await tell(leader, "worker-1", { ...execute, sessionId, command })).toBe("WRONG_SENDER");
  const passed = { type: "PASSED_ON", gatewayId: "gateway-1", message: { ...execute, sessionId, command } };
  for (const as of ["worker-1", "gateway-1"]) expect(await tell(leader, as, passed)).toBe("WRONG_SENDER");
  expect(await tell(leader, "master-2", { ...passed, gatewayId: "worker-1" })).toBe("WRONG_SENDER");
  expect((await fetch(`${cluster.url}/files?prefix=forged`).then((answer) => answer.json())) as unknown).toMatchObject({
    entries: [],
  });
});

test("S3. a master sends no blocks and fetches none, and a worker fetches no snapshot", async () => {
  const ask = (to: string, as: string, path: string) =>
    fetch(`${cluster.urlOf(to)}${path}`, {
      headers: {
        authorization: sign(secret, as, "GET", path, path.startsWith("/raft") ? "" : blockContent(new Headers())),
      },
    }).then(({ status }) => status);
  const block = "/chunks/0000000000000001/blocks/0";
  expect(await ask("worker-1", "master-1", block)).toBe(403);
  expect(await ask("worker-1", "worker-2", block)).not.toBe(403);
  const { leader } = await leads();
  expect(await ask(leader, "worker-1", "/raft/snapshots/1")).toBe(403);
  expect(await ask(leader, "worker-1", "/raft/backup")).toBe(403);
  expect(await ask(leader, "master-2", "/raft/snapshots/1")).toBe(404);
});

test("every message that a node takes is in the table of who may send it", () => {
  const taken = [MasterMailbox, WorkerMailbox, RecordsMailbox].flatMap((mailbox) => Object.keys(mailbox));
  expect(Object.keys(MESSAGE_SENDERS).sort()).toEqual(taken.sort());
});

test("no integer of a message may be beyond 2^53 - 1", () => {
  const unbounded: string[] = [];
  const walk = (schema: unknown, path: string): void => {
    if (typeof schema !== "object" || schema === null) return;
    const { type, minimum, maximum } = schema as { type?: unknown; minimum?: number; maximum?: number };
    const isBounded = (maximum ?? Number.POSITIVE_INFINITY) <= Number.MAX_SAFE_INTEGER && minimum !== undefined;
    if (type === "integer" && !isBounded) unbounded.push(path);
    for (const [key, inner] of Object.entries(schema)) walk(inner, `${path}.${key}`);
  };
  for (const mailbox of [MasterMailbox, WorkerMailbox, RecordsMailbox])
    for (const [type, { message }] of Object.entries(mailbox)) walk(message, type);
  expect(unbounded).toEqual([]);
});

/** What an older program wrote down when it was told so. */
function poison(file: string, sql: string): void {
  const db = new Database(file);
  db.run(sql, [NEVER]);
  db.close();
}
async function refusesToStart(kind: "master" | "worker", id: string): Promise<void> {
  cluster.startNode(kind, id);
  expect(await cluster.exited(id)).toBe(ExitCode.dataDirectoryRefused);
  expect(cluster.logOf(id)).toMatch(/9007199254740991.*--reset-term/);
}

test("S3. masters and workers that hold such a term do not start; --reset-term brings all of them back, and nothing is lost", async () => {
  await put("before");
  const { masters, workers } = cluster.config;
  await Promise.all([...masters, ...workers].map(({ id }) => cluster.kill(id)));
  for (const { id } of masters)
    poison(join(cluster.dataOf(id), "master_metadata.db"), "UPDATE meta SET term = ?, vote = 'worker-3'");
  for (const { id } of workers)
    poison(join(cluster.dataOf(id), "chunk-index.db"), "UPDATE identity SET highest_term = ?");
  for (const { id } of masters) await refusesToStart("master", id);
  for (const { id } of workers) await refusesToStart("worker", id);
  // Alone none goes on: the votes that it forgets may count for another.
  cluster.startNode("master", "master-1", ["--reset-term"]);
  await cluster.until("it waits for the others", 20_000, async () => {
    const { role } = await cluster.ask("master-1", { type: "MASTER_STATUS" });
    return role === "resetting";
  });
  cluster.startNode("master", "master-2", ["--reset-term"]);
  await cluster.until("two of them go on", 30_000, async () => {
    const roles = await Promise.all(
      ["master-1", "master-2"].map(async (id) => (await cluster.ask(id, { type: "MASTER_STATUS" })).role),
    );
    return roles.includes("leader") && roles.includes("follower");
  });
  cluster.startNode("master", "master-3", ["--reset-term"]);
  for (const { id } of workers) cluster.startNode("worker", id, ["--reset-term"]);
  await cluster.ready(60_000);
  expect(await text("before")).toBe("what before holds");
  await put("afterwards");
  const terms = await Promise.all(
    masters.map(async ({ id }) => (await cluster.ask(id, { type: "MASTER_STATUS" })).term),
  );
  expect(Math.max(...terms)).toBeLessThan(2 ** 20);
});
