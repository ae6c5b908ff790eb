/** What `?explain` tells of a file's chunks and copies. */
import { afterAll, beforeEach, expect, test } from "bun:test";
import { Refusal } from "../../actors/messages/errors.ts";
import { verifiedInWords } from "../../gateway/client/verified.ts";
import { restGateway } from "../support/rest-gateway.ts";

const gateway = await restGateway();
afterAll(() => gateway.end());
beforeEach(() => gateway.clear());
const put = (path: string, body: BodyInit = "content") => gateway.call("PUT", path, { body });
const get = (path: string) => gateway.call("GET", path);

test("explain tells where chunks are, in pages, and believes the worker over the books", async () => {
  await put("/files/f", "x".repeat(70_000));
  const answer = await (await get("/files/f?explain")).json();
  const good = ["worker-1", "worker-2", "worker-3"].map((worker) => ({ worker, state: "good", workerState: "live" }));
  const decision = { rule: "the first ones", candidates: [] };
  expect(answer).toMatchObject({
    path: "f",
    size: 70_000,
    next: null,
    chunks: [
      { index: 0, offset: 0, length: 65_536, replicas: good, decision },
      { index: 1, offset: 65_536, length: 4464, replicas: good, decision },
    ],
  });
  const ids = answer.chunks.map(({ id }: { id: string }) => Number.parseInt(id, 16));
  expect(ids[1]).toBe(ids[0] + 1);
  await gateway.worker("worker-1").lose(ids[0]);
  const lost = (await (await get("/files/f?explain&limit=1")).json()).chunks[0].replicas;
  expect(lost.map(({ state }: { state: string }) => state)).toEqual(["missing", "good", "good"]);
  const second = await (await get("/files/f?explain&fromIndex=1&limit=1")).json();
  expect(second.chunks.map((chunk: { index: number }) => chunk.index)).toEqual([1]);
  expect((await get("/files/none?explain")).status).toBe(404);
  expect((await get("/files/f?explain&limit=0")).status).toBe(400);
});

test("F17. a copy is verified when its worker last read it back; one that was only written is not, nor one whose worker does not say", async () => {
  await put("/files/f", "x".repeat(70_000));
  const [written, readBack] = [Date.UTC(2026, 0, 1), Date.UTC(2026, 0, 8)];
  const { data } = gateway;
  const { describeReplica } = data.operations;
  const told = async (times: { sealedAt: number; verifiedAt: number | null } | null) => {
    data.operations.describeReplica = async (...asked) => {
      if (times === null) throw new Refusal("TIMEOUT", "It does not say");
      return { ...(await describeReplica(...asked)), ...times };
    };
    const { chunks } = await (await get("/files/f?explain&limit=1")).json();
    const { state, verifiedAt, sealedAt } = chunks[0].replicas[0];
    return [state, verifiedAt, sealedAt];
  };
  const [writtenIso, readBackIso] = [new Date(written).toISOString(), new Date(readBack).toISOString()];
  expect(await told({ sealedAt: written, verifiedAt: readBack })).toEqual(["good", readBackIso, writtenIso]);
  expect(await told({ sealedAt: written, verifiedAt: written })).toEqual(["good", null, writtenIso]);
  expect(await told({ sealedAt: written, verifiedAt: null })).toEqual(["good", null, writtenIso]);
  expect(await told(null)).toEqual(["good", null, null]);
});

test("F17. in words: read back then, or written then and not read back since, or unknown", () => {
  const day = (iso: string) => iso.slice(0, 10);
  expect(verifiedInWords({ verifiedAt: "2026-01-08T00:00:00Z", sealedAt: "2026-01-01T00:00:00Z" }, day)).toBe(
    "read back 2026-01-08",
  );
  expect(verifiedInWords({ verifiedAt: null, sealedAt: "2026-01-01T00:00:00Z" }, day)).toBe(
    "written 2026-01-01, not read back since",
  );
  expect(verifiedInWords({ verifiedAt: null }, day)).toBe("read back: unknown");
});

test("why a chunk is there: as old masters told it, as it is told now, and not at all after thirty days", async () => {
  await put("/files/f", "x".repeat(70_000));
  const { operations } = gateway.data;
  const { explain } = operations;
  const [dead, able] = [
    { workerId: "worker-9", score: 0.4, rejected: "dead" },
    { workerId: "worker-1", score: 0.5 },
  ];
  const old = { atLogTime: 0, rule: "by space", candidates: [able, dead] };
  const lean = { ...old, chosen: ["worker-1", "worker-2"], counts: { "can take it": 60, dead: 4 } };
  const told = async (decision: typeof old | typeof lean | null) => {
    operations.explain = async (...asked) => {
      const answer = await explain(...asked);
      return { ...answer, chunks: answer.chunks.map((chunk) => ({ ...chunk, decision })) };
    };
    return (await (await get("/files/f?explain")).json()).chunks[0].decision;
  };
  const shown = {
    ...{ at: "1970-01-01T00:00:00.000Z", rule: "by space" },
    candidates: [
      { worker: "worker-1", score: 0.5 },
      { worker: "worker-9", score: 0.4, rejected: "dead" },
    ],
  };
  try {
    expect(await told(old)).toEqual(shown);
    expect(await told(lean)).toEqual({ ...shown, chosen: lean.chosen, counts: lean.counts });
    expect(await told(null)).toBeNull();
  } finally {
    operations.explain = explain;
  }
});
