/** Records are followed while somebody looks, and only then; who comes later is shown what happened before. */
import { afterAll, afterEach, describe, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { Elysia } from "elysia";
import type { Config } from "../../actors/messages/config.ts";
import type { RecordsAfter } from "../../actors/messages/records.ts";
import { listenOptions, SERVER_OPTIONS } from "../../actors/node/http/server-options.ts";
import type { Identity } from "../../actors/node/identity/identity.ts";
import { sharedSecret } from "../../actors/node/identity/signature.ts";
import { createLogger } from "../../actors/node/log.ts";
import { mailbox } from "../../actors/node/messaging/mailbox.ts";
import { Recorder } from "../../actors/node/record/recorder.ts";
import { FollowedRecords, NodeRecords } from "../../databases/records.ts";
import type { RecordPage, Report } from "../../gateway/console/api.ts";
import { Follower } from "../../gateway/console/follower.ts";
import { until } from "../support/fair-time.ts";
import { freePorts } from "../support/free-ports.ts";
import { RealCluster } from "../support/real-cluster.ts";
import { scratchFolder } from "../support/scratch.ts";

const SECRET = "a".repeat(64);
const log = createLogger("test", "silent");
const identityOf = (nodeId: string): Identity => ({
  nodeId,
  credentials: sharedSecret(nodeId, SECRET),
  clusterId: () => null,
});

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end();
});

/** A node that records, and a gateway that may follow it. */
function nodeAndFollower({ keepRecords = 100_000 } = {}) {
  const folder = scratchFolder("dfs-following-");
  ends.push(() => rmSync(folder, { recursive: true, force: true }));
  const recorder = new Recorder({
    nodeId: "worker-1",
    store: new NodeRecords(join(folder, "records.db"), { keepRecords }),
  });
  const asked: RecordsAfter[] = [];
  const handlers = {
    RECORDS_AFTER: (message: RecordsAfter) => {
      asked.push(message);
      return recorder.after(message);
    },
    MACHINES: () => recorder.machines(),
  };
  const url = `http://127.0.0.1:${freePorts(1)[0]}`;
  const node = new Elysia(SERVER_OPTIONS).use(mailbox({}, handlers, identityOf("worker-1"), log));
  node.listen(listenOptions(url));
  const store = new FollowedRecords(":memory:", { keepRecords });
  const config = {
    masters: [],
    workers: [{ id: "worker-1", url, zone: "a" }],
    gateways: [],
    recording: { enabled: true, keepRecords },
  } as unknown as Config;
  const identity = identityOf("gateway-1");
  const follower = new Follower({ config, gatewayId: "gateway-1", identity, store, log, lookedMs: 200 });
  ends.push(
    () => recorder.close(),
    () => node.stop(true),
    () => store.close(),
    () => follower.stop(),
  );
  const marks = () => store.between("0", "~", keepRecords, "mark").map(({ s }) => s);
  const mark = (subject: string) => {
    recorder.mark("bookmark", subject);
    recorder.flush();
  };
  return { recorder, asked, follower, store, marks, mark };
}

test("no node is asked for its records while nobody looks; the first look brings what was recorded before it", async () => {
  const { asked, follower, marks, mark } = nodeAndFollower();
  mark("before");
  await Bun.sleep(1500);
  expect(asked).toEqual([]);
  await follower.look();
  expect(marks()).toEqual(["before"]);
});

test("whoever watches gets each record as it comes; when nobody does any more, nothing is asked, and the next look goes on there", async () => {
  const { asked, follower, marks, mark, store } = nodeAndFollower();
  const seen: string[] = [];
  await follower.look();
  const stop = follower.listen((records) => seen.push(...records.map(({ s }) => s)));
  mark("watched");
  await until("it is seen", () => seen.includes("watched"));
  stop();
  await until("the follower rests", () => !follower.isFollowing);
  const count = asked.length;
  mark("unwatched");
  await Bun.sleep(1500);
  expect([asked.length, marks()]).toEqual([count, ["watched"]]);
  await follower.look();
  expect(marks()).toEqual(["watched", "unwatched"]);
  expect(seen).toEqual(expect.arrayContaining(["watched"]));
  expect(seen).not.toContain("unwatched");
  expect(store.cursorOf("worker-1").seq).toBeGreaterThan(1);
});

test("of a past that is too long a look takes the newest records, and tells how many stayed with the node", async () => {
  const { recorder, follower, store } = nodeAndFollower({ keepRecords: 4000 });
  for (let n = 0; n < 9000; n++) recorder.became("reach", "worker-9", String(n), "counted");
  recorder.flush();
  await follower.look();
  const seen = store.between("0", "~", 10_000, "reach").map(({ v }) => Number(v));
  expect(seen.at(-1)).toBe(8999);
  expect(seen).toEqual(seen.map((_, n) => 9000 - seen.length + n));
  expect(seen.length).toBeGreaterThanOrEqual(2000);
  expect(seen.length).toBeLessThanOrEqual(4000);
});

test("a record that the ring of its node overran before anybody looked is counted as lost", async () => {
  const { recorder, follower, mark } = nodeAndFollower({ keepRecords: 2000 });
  mark("seen");
  await follower.look();
  await until("the follower rests", () => !follower.isFollowing);
  for (let n = 0; n < 6000; n++) recorder.became("reach", "worker-9", String(n), "counted");
  await follower.look();
  const [node] = follower.statuses();
  expect(node?.lost).toBeGreaterThanOrEqual(3900);
});

describe("on real processes", () => {
  let cluster: RealCluster | undefined;
  afterAll(() => cluster?.stop());
  const ask = async <T>(path: string): Promise<T> => {
    const response = await fetch(`${cluster?.url}/console/api/${path}`, { signal: AbortSignal.timeout(10_000) });
    return (await response.json()) as T;
  };

  test("a leader that dies while nobody looks becomes a report; what it recorded itself comes when it is back", async () => {
    const one = await RealCluster.start({ masters: 3, workers: 3 });
    cluster = one;
    const leader = (await one.view()).leader as string;
    await one.kill(leader);
    await one.until("another leads", 20_000, async () => {
      const now = (await one.view()).leader;
      return now !== null && now !== leader;
    });
    const successor = (await one.view()).leader as string;
    const reports = async () => (await ask<Report[]>("reports")).filter(({ kind }) => kind === "leaderLoss");
    await one.until("the report is closed", 20_000, async () => (await reports()).some(({ to }) => to !== null));
    const [report] = await reports();
    expect([report?.subject, report?.successor]).toEqual([leader, successor]);
    expect(report?.phases.map(({ name }) => name)).toEqual(["missedHeartbeats", "preVote", "vote", "firstCommit"]);
    one.restart(leader);
    await one.until("its first reign is told", 20_000, async () => {
      const { records } = await ask<RecordPage>(`records?from=0&to=${Date.now()}&limit=5000&machine=raft`);
      return records.some(({ n, b, f, v }) => n === leader && b === 1 && f === "candidate" && v.startsWith("leader"));
    });
  });
});
