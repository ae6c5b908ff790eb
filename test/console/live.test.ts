/** The console on real processes: what it tells of a killed worker is what the nodes recorded themselves. */

import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { recordId } from "../../actors/rules/record-id.ts";
import { NodeRecords } from "../../databases/records.ts";
import type {
  About,
  MachineList,
  NodeStatus,
  RecordPage,
  Report,
  StateAt,
  StepRecord,
  Why,
} from "../../gateway/console/api.ts";
import { openRecording } from "../../gateway/console/recording.ts";
import { reportsOf } from "../../gateway/console/reports.ts";
import { RealCluster } from "../support/real-cluster.ts";

let cluster: RealCluster;
let report: Report;

const ask = async <T>(path: string): Promise<T> => {
  const response = await fetch(`${cluster.url}/console/api/${path}`, { signal: AbortSignal.timeout(10_000) });
  if (!response.ok) throw new Error(`${path}: ${response.status} ${await response.text()}`);
  return (await response.json()) as T;
};

beforeAll(async () => {
  cluster = await RealCluster.start({
    workers: 4,
    config: { blockSizeBytes: 1 << 16, chunkSizeBytes: 1 << 20, suspectAfterMs: 2000, deadAfterMs: 4000 },
  });
  for (let n = 0; n < 12; n++) await cluster.client.put(`files/${n}`, new Uint8Array(100_000).fill(n));
});

afterAll(async () => {
  await cluster?.stop();
});

/** A page that looks on; `text` is all that came. */
function look(after?: string, headers: Record<string, string> = {}) {
  const stop = new AbortController();
  const seen = { text: "", ids: [] as string[], records: [] as StepRecord[] };
  const reading = (async () => {
    const path = `stream${after === undefined ? "" : `?after=${encodeURIComponent(after)}`}`;
    const response = await fetch(`${cluster.url}/console/api/${path}`, { signal: stop.signal, headers });
    const decoder = new TextDecoder();
    for await (const bytes of response.body as unknown as AsyncIterable<Uint8Array>) {
      seen.text += decoder.decode(bytes, { stream: true });
      const events = seen.text.split("\n\n");
      seen.text = events.pop() ?? "";
      for (const event of events) {
        const [, id] = /^id: (.+)$/m.exec(event) ?? [];
        const [, data] = /^data: (.+)$/m.exec(event) ?? [];
        if (id) seen.ids.push(id);
        if (event.includes("event: records"))
          seen.records.push(...(JSON.parse(data as string) as { records: StepRecord[] }).records);
        if (event.includes("event: hello")) Object.assign(seen, { hello: JSON.parse(data as string) });
      }
    }
  })().catch(() => {});
  return {
    seen,
    async stop() {
      stop.abort();
      await reading;
    },
  };
}

test("all nodes are followed, with the state of each of their machines, and every machine is drawn", async () => {
  await cluster.until("every node's worker machine is known", 10_000, async () => {
    const { actors } = await ask<StateAt>("state");
    return actors.filter(({ m, v }) => m === "worker" && v.startsWith("serving")).length === 4;
  });
  const about = await ask<About>("about");
  expect(about).toMatchObject({ mode: "live", recording: true });
  const { actors } = await ask<StateAt>("state");
  expect(actors.filter(({ m, v }) => m === "liveness" && v.startsWith("heard.live")).length).toBe(4);
  const machines = await ask<MachineList>("machines");
  expect(machines.map(({ chart }) => chart.machine)).toEqual([
    "liveness",
    "raft",
    "repair",
    "steward",
    "upload",
    "worker",
  ]);
});

test("a stream that is cut goes on where it was, with nothing lost and nothing twice", async () => {
  const first = look();
  await cluster.until("records come", 10_000, async () => first.seen.records.length > 20);
  await first.stop();
  const cursor = first.seen.ids.at(-1) as string;
  await Bun.sleep(500);
  const second = look(undefined, { "last-event-id": cursor });
  await cluster.until("records come", 10_000, async () => second.seen.records.length > 20);
  await second.stop();
  expect(second.seen).toMatchObject({ hello: { resumed: true, cursor } });
  const told = [...first.seen.records, ...second.seen.records].map(recordId);
  expect(new Set(told).size).toBe(told.length);
  const stranger = look("elsewhere:3");
  await cluster.until("it says hello", 5000, async () => "hello" in stranger.seen);
  await stranger.stop();
  expect(stranger.seen).toMatchObject({ hello: { resumed: false } });
});

test("a killed worker becomes a report: from its last heartbeat to the last copy", async () => {
  const killedAt = Date.now();
  await cluster.kill("worker-2");
  await cluster.until("the report is closed", 40_000, async () => {
    const found = (await ask<Report[]>("reports")).find(
      ({ kind, subject }) => kind === "workerDeath" && subject === "worker-2",
    );
    if (found) report = found;
    return found?.to != null;
  });
  const { from, to, phases, chunksAtRisk } = report;
  expect(Math.abs(from - killedAt)).toBeLessThan(2000);
  expect(phases.map(({ name }) => name).slice(0, 2)).toEqual(["silence", "suspicion"]);
  expect(phases.reduce((sum, { ms }) => sum + (ms ?? 0), 0)).toBe((to as number) - from);
  expect(chunksAtRisk.most).toBeGreaterThan(0);
  expect(report.because[0]).toBe(`${chunksAtRisk.most} ${chunksAtRisk.most === 1 ? "chunk" : "chunks"} short`);
  expect(report.because[1]).toBe("because worker-2 is dead");

  const nodes = await ask<NodeStatus[]>("nodes");
  const gone = nodes.find(({ id }) => id === "worker-2");
  expect(gone).toMatchObject({ reach: "unknown" });
  expect(Math.abs((gone?.since as number) - killedAt)).toBeLessThan(3000);
});

test("why a copy was made leads back to the death of the worker", async () => {
  const { records } = await ask<RecordPage>(`records?from=${report.from}&to=${Date.now()}&limit=5000&machine=repair`);
  const healed = records.find(({ v }) => v === "healed") as StepRecord;
  const why = await ask<Why>(`why?record=${encodeURIComponent(recordId(healed))}`);
  expect(why.edges[0]?.to).toEqual(["repair.healed"]);
  expect(why.causes.some(({ m, s, v }) => m === "liveness" && s === "worker-2" && v.startsWith("heard.dead"))).toBe(
    true,
  );
});

test("an exported recording tells the same story without the cluster", async () => {
  const response = await fetch(`${cluster.url}/console/api/recording?minutes=10`);
  const read = await openRecording(new Uint8Array(await response.arrayBuffer()));
  if (!read.ok) throw new Error(read.message);
  const { header, records } = read.recording;
  expect(header.machines.length).toBe(6);
  const same = reportsOf(records, header.timings).find(({ id }) => id === report.id);
  expect(same).toMatchObject({ from: report.from, to: report.to, phases: report.phases, because: report.because });
  const broken = await fetch(`${cluster.url}/console/api/recording/check`, { method: "POST", body: "hello" });
  expect([broken.status, ((await broken.json()) as { code: string }).code]).toEqual([400, "BAD_RECORDING"]);
});

test("what a node recorded before kill -9 is there after it", async () => {
  await cluster.kill("worker-1");
  const store = new NodeRecords(join(cluster.dataOf("worker-1"), "records.db"), { keepRecords: 100_000 });
  const { records } = store.after({ boot: 0, seq: 0 }, 100_000);
  store.close();
  expect(records[0]).toMatchObject({ k: "proc", e: "started" });
  expect(records.at(-1)?.m).not.toBe("process");
  const { records: followed } = await ask<RecordPage>(`records?from=0&to=${Date.now()}&limit=5000&machine=worker`);
  const ids = new Set(records.map(recordId));
  const lost = followed.filter(({ n }) => n === "worker-1").filter((record) => !ids.has(recordId(record)));
  expect(lost).toEqual([]);
  cluster.restart("worker-1");
  await cluster.until("it is followed again, and its end is told", 15_000, async () => {
    const page = await ask<RecordPage>(`records?from=0&to=${Date.now()}&limit=5000&machine=process`);
    return page.records.some(({ n, e }) => n === "worker-1" && e === "crashed");
  });
});

test("refusals are listed with their reasons", async () => {
  await fetch(cluster.fileUrl("files/nothing"));
  await cluster.until("the refusal is told", 5000, async () => {
    const { entries } = await ask<{ entries: { code: string; request: string }[] }>("refusals");
    return entries.some(({ code, request }) => code === "NO_SUCH_FILE" && request === "GET /files");
  });
});

test("C5. a gateway tells how many requests it answered, and how long a client waited at most", async () => {
  await cluster.client.put("files/waited-for", "x");
  await cluster.until("a sample is told", 10_000, async () => {
    const { records } = await ask<RecordPage>(`records?from=0&to=${Date.now()}&limit=5000&machine=clients`);
    const longest = records.map(({ d }) => d as { answered: number; longestMs: number; longestAt: number });
    return longest.some(({ answered, longestMs, longestAt }) => answered > 12 && longestMs > 0 && longestAt > 0);
  });
});

test("drills are refused on a cluster that no launcher runs", async () => {
  const response = await fetch(`${cluster.url}/console/api/drills`, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ kind: "kill", node: "worker-3" }),
  });
  expect([response.status, ((await response.json()) as { code: string }).code]).toEqual([403, "DRILLS_NOT_ALLOWED"]);
});

test("the report's figures are those that the leader itself recorded", async () => {
  await cluster.kill("master-1");
  const store = new NodeRecords(join(cluster.dataOf("master-1"), "records.db"), { keepRecords: 100_000 });
  const own = store.after({ boot: 0, seq: 0 }, 100_000).records;
  store.close();
  const at = (name: string): number | undefined => {
    const record = report.phases.find((phase) => phase.name === name)?.record;
    return own.find((one) => recordId(one) === record)?.t;
  };
  for (const { name, to } of report.phases) expect([name, at(name)]).toEqual([name, to as number]);
  const heard = own.findLast(
    ({ a, e, h }) =>
      a === "liveness:worker-2" && e === "HEARTBEAT" && h < (own.find(({ t }) => t === at("silence"))?.h ?? ""),
  );
  expect(heard?.l ?? heard?.t).toBe(report.from);
});
