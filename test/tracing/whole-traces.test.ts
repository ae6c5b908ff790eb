/** One request's way through a cluster of real processes, as a collector sees it and as the logs tell it. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { type CollectedSpan, OtlpCollector } from "../support/otlp-collector.ts";
import { type ChunkView, RealCluster } from "../support/real-cluster.ts";

const BLOCK = 64 << 10;
const DOOR = "PUT /files/{path}";
const GET_DOOR = "GET /files/{path}";
const BLOCK_PUT = "PUT /chunks/{id}/blocks/{n}";
const BLOCK_GET = "GET /chunks/{id}/blocks/{n}";

const collector = new OtlpCollector();
let cluster: RealCluster;

beforeAll(async () => {
  cluster = await RealCluster.start({
    masters: 1,
    workers: 4,
    config: {
      blockSizeBytes: BLOCK,
      chunkSizeBytes: 4 * BLOCK,
      inlineChunkBytes: 1024,
      logLevel: "debug",
      route: "auto",
    },
    env: {
      OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
      OTEL_EXPORTER_OTLP_HEADERS: "x-tenant=house",
      OTEL_BSP_SCHEDULE_DELAY: "50",
      OTEL_RESOURCE_ATTRIBUTES: "deployment.environment.name=test",
    },
  });
}, 120_000);
afterAll(async () => {
  await cluster.stop();
  await collector.stop();
});

const hex = (length: number): string => Buffer.from(crypto.getRandomValues(new Uint8Array(length / 2))).toString("hex");

/** A client that traces. */
function client(state?: string) {
  const [traceId, spanId, requestId] = [hex(32), hex(16), `request-${hex(8)}`];
  const headers: Record<string, string> = {
    traceparent: `00-${traceId}-${spanId}-01`,
    "x-request-id": requestId,
    ...(state ? { tracestate: state } : {}),
  };
  return { traceId, spanId, requestId, headers };
}

async function put(path: string, bytes: number, headers: Record<string, string>): Promise<Response> {
  const response = await fetch(cluster.fileUrl(path), { method: "PUT", body: new Uint8Array(bytes).fill(7), headers });
  expect(response.status).toBe(201);
  return response;
}

const nodesOf = (spans: readonly CollectedSpan[]): string[] => [...new Set(spans.map(({ node }) => node))].sort();

/** Nodes in whose log a line names this request. */
const loggedAt = (requestId: string, traceId: string): string[] =>
  ["gateway-1", "master-1", "worker-1", "worker-2", "worker-3", "worker-4"].filter((id) =>
    cluster
      .logOf(id)
      .split("\n")
      .some((line) => line.includes(`"requestId":"${requestId}"`) && line.includes(`"traceId":"${traceId}"`)),
  );

test("a put of several blocks: every hop of the chain is below the one before, and the door below the client", async () => {
  const { traceId, spanId, requestId, headers } = client("vendor=value");
  const response = await put("large", 3 * BLOCK, headers);
  expect(response.headers.get("x-request-id")).toBe(requestId);
  const trace = await collector.whole(
    traceId,
    (spans) =>
      spans.some(({ name }) => name === DOOR) &&
      spans.filter(({ name, kind }) => name === BLOCK_PUT && kind === "server").length === 9 &&
      spans.filter(({ name, kind }) => name === "SEAL_CHUNK" && kind === "server").length === 3,
  );

  expect(trace.roots()).toEqual(trace.named(DOOR));
  expect(trace.named(DOOR)).toMatchObject([
    {
      parent: spanId,
      node: "gateway-1",
      service: "dfs-gateway",
      kind: "server",
      state: "vendor=value",
      attributes: { "http.response.status_code": 201, "dfs.request_id": requestId },
    },
  ]);
  const lines = trace.lines();
  const gateway = `gateway-1 ${DOOR}`;
  expect(lines).toContain(`${gateway} > gateway-1 PLACE_CHUNKS > master-1 PLACE_CHUNKS`);
  expect(lines).toContain(`${gateway} > gateway-1 EXECUTE > master-1 EXECUTE > master-1 commit PUT_FILE`);

  // Each block goes through three workers, one after the other.
  const workers = nodesOf(trace.spans).filter((id) => id.startsWith("worker"));
  expect(workers.length).toBe(3);
  const ends = trace
    .named(BLOCK_PUT)
    .filter(({ kind, id }) => kind === "server" && !trace.spans.some(({ parent }) => parent === id));
  const ways = ends.map((span) => trace.way(span));
  expect(ways.length).toBe(3);
  for (const way of ways) {
    expect(way.map((hop) => hop.replace(/^worker-\d/, "worker"))).toEqual([
      gateway,
      `gateway-1 ${BLOCK_PUT}`,
      ...[`worker ${BLOCK_PUT}`, `worker ${BLOCK_PUT}`, `worker ${BLOCK_PUT}`, `worker ${BLOCK_PUT}`],
      `worker ${BLOCK_PUT}`,
    ]);
    expect(new Set(way.filter((hop) => hop.startsWith("worker"))).size).toBe(3);
  }
  for (const id of workers) expect(lines).toContain(`${gateway} > gateway-1 SEAL_CHUNK > ${id} SEAL_CHUNK`);
  expect(loggedAt(requestId, traceId)).toEqual(["gateway-1", "master-1", ...workers]);
});

test("a put of a small file: each worker that gets a copy is below the gateway's write to it", async () => {
  const { traceId, requestId, headers } = client();
  await put("small", 300, headers);
  const trace = await collector.whole(
    traceId,
    (spans) =>
      spans.some(({ name }) => name === DOOR) &&
      spans.filter(({ name }) => name === "store small chunk").length === 3 &&
      spans.some(({ name }) => name === "commit PUT_FILE"),
  );
  const workers = nodesOf(trace.spans).filter((id) => id.startsWith("worker"));
  expect(workers.length).toBe(3);
  for (const id of workers)
    expect(trace.lines()).toContain(`gateway-1 ${DOOR} > gateway-1 write small chunk > ${id} store small chunk`);
  expect(trace.roots()).toEqual(trace.named(DOOR));
  expect(loggedAt(requestId, traceId)).toEqual(expect.arrayContaining(["gateway-1", "master-1", ...workers]));
});

test("small files that share requests: each is in its own trace, whole", async () => {
  const clients = Array.from({ length: 20 }, () => client());
  await Promise.all(clients.map(({ headers }, n) => put(`crowd/${n}`, 200, headers)));
  for (const { traceId } of clients) {
    const trace = await collector.whole(
      traceId,
      (spans) =>
        spans.some(({ name }) => name === DOOR) &&
        spans.filter(({ name }) => name === "store small chunk").length === 3 &&
        spans.some(({ name }) => name === "commit PUT_FILE"),
    );
    expect(trace.roots()).toEqual(trace.named(DOOR));
    const commits = trace.named("commit PUT_FILE");
    expect(commits.map((span) => trace.way(span).slice(0, -1))).toEqual([
      [`gateway-1 ${DOOR}`, "gateway-1 EXECUTE", "master-1 EXECUTE"],
    ]);
    expect(commits[0]?.events).toEqual(["proposed", "committed"]);
  }
});

test("a get: located by the master, read from workers, below the client's span", async () => {
  await put("to-read", 6 * BLOCK, {});
  const { traceId, spanId, requestId, headers } = client();
  const response = await fetch(cluster.fileUrl("to-read"), { headers });
  expect((await response.bytes()).length).toBe(6 * BLOCK);
  const trace = await collector.whole(
    traceId,
    (spans) => spans.some(({ name }) => name === "read") && spans.some(({ name }) => name === GET_DOOR),
  );
  expect(trace.roots().map(({ name, parent }) => ({ name, parent }))).toEqual([{ name: GET_DOOR, parent: spanId }]);
  const lines = trace.lines();
  expect(lines).toContain("gateway-1 GET /files/{path} > gateway-1 LOCATE > master-1 LOCATE");
  const reads = trace.named(BLOCK_GET).filter(({ kind }) => kind === "server");
  expect(reads.length).toBeGreaterThan(0);
  for (const span of reads)
    expect(trace.way(span)).toEqual([
      "gateway-1 GET /files/{path}",
      "gateway-1 read",
      `gateway-1 ${BLOCK_GET}`,
      `${span.node} ${BLOCK_GET}`,
    ]);
  expect(loggedAt(requestId, traceId)).toEqual(["gateway-1", "master-1", ...nodesOf(reads)]);
});

test("a record that a traced request brought about names its trace, and its timers' do not", async () => {
  const recorded = async (): Promise<{ m: string; ti?: string }[]> => {
    const response = await fetch(`${cluster.url}/console/api/recording?minutes=1`);
    const text = Buffer.from(Bun.gunzipSync(await response.bytes())).toString();
    return text.split("\n").flatMap((line) => (line.startsWith('{"n"') ? [JSON.parse(line)] : []));
  };
  // Of many uploads in a second some are only counted.
  const traceIds = new Set<string | undefined>();
  await cluster.until("a traced upload is recorded", 20_000, async () => {
    const { traceId, headers } = client();
    traceIds.add(traceId);
    await put(`recorded/${traceId}`, 100, headers);
    return (await recorded()).some(({ ti }) => traceIds.has(ti));
  });
  const machines = new Set((await recorded()).filter(({ ti }) => traceIds.has(ti)).map(({ m }) => m));
  expect([...machines]).toEqual(["upload"]);
});

test("an invalid traceparent begins a new trace, and an invalid tracestate is dropped", async () => {
  for (const traceparent of ["00-zz-1-01", `ff-${hex(32)}-${hex(16)}-01`, `00-${"0".repeat(32)}-${hex(16)}-01`]) {
    const requestId = `request-${hex(8)}`;
    await put(`invalid/${requestId}`, 100, { traceparent, "x-request-id": requestId });
    const door = await doorOf(requestId);
    expect(door.parent).toBeNull();
    expect(traceparent).not.toContain(door.traceId);
  }
  const { requestId, spanId, headers } = client("NOT A STATE");
  await put(`invalid/${requestId}`, 100, headers);
  expect(await doorOf(requestId)).toMatchObject({ parent: spanId, state: "" });
});

async function doorOf(requestId: string): Promise<CollectedSpan> {
  const find = () => collector.spans.find(({ attributes }) => attributes["dfs.request_id"] === requestId);
  await cluster.until("the door's span is there", 20_000, async () => find() !== undefined);
  return find() as CollectedSpan;
}

test("a client that does not sample is not traced, and its request keeps its id", async () => {
  const { traceId, spanId, requestId } = client();
  await put("unsampled", 100, { traceparent: `00-${traceId}-${spanId}-00`, "x-request-id": requestId });
  const later = client();
  await put("sampled", 100, later.headers);
  await collector.whole(later.traceId, (spans) => spans.some(({ name }) => name === DOOR));
  expect(collector.trace(traceId)).toEqual([]);
  expect(loggedAt(requestId, traceId)).toContain("master-1");
});

test("what the environment says of the export is obeyed", () => {
  expect(collector.requests.every((headers) => headers.get("x-tenant") === "house")).toBe(true);
});

test("a repair is a trace of its own: the leader's decision, the copy's order, the reads of its source, the commit", async () => {
  await put("to-repair", 3 * BLOCK, {});
  const [chunk] = (await cluster.chunks("to-repair")) as [ChunkView];
  await cluster.kill(chunk.replicas[0]?.worker as string);
  await cluster.untilRedundant();
  const isHealed = ({ name, attributes }: CollectedSpan) =>
    name === "repair" && attributes["dfs.repair.outcome"] === "healed";
  const isOurs = (span: CollectedSpan) => isHealed(span) && span.attributes["dfs.chunk.id"] === chunk.id;
  await cluster.until("the repair's span is there", 20_000, async () => collector.spans.some(isOurs));
  const { traceId } = collector.spans.find(isOurs) as CollectedSpan;
  const trace = await collector.whole(traceId, (spans) =>
    ["COPY_CHUNK", "DESCRIBE_CHUNK", BLOCK_GET].every(
      (name) => spans.filter((span) => span.name === name && span.kind === "server").length > 0,
    ),
  );
  expect(trace.roots().map(({ name, node, parent }) => ({ name, node, parent }))).toEqual([
    { name: "repair", node: "master-1", parent: null },
  ]);
  const [repair] = trace.named("repair") as [CollectedSpan];
  const target = String(repair.attributes["dfs.worker"]);
  const [read] = trace.named(BLOCK_GET).filter(({ kind }) => kind === "server") as [CollectedSpan];
  const copy = ["master-1 repair", "master-1 COPY_CHUNK", `${target} COPY_CHUNK`];
  expect(trace.way(read)).toEqual([...copy, `${target} ${BLOCK_GET}`, `${read.node} ${BLOCK_GET}`]);
  expect(read.node).not.toBe(target);
  const lines = trace.lines();
  expect(lines).toContain([...copy, `${target} DESCRIBE_CHUNK`, `${read.node} DESCRIBE_CHUNK`].join(" > "));
  expect(lines).toContain("master-1 repair > master-1 commit ADD_REPLICAS");
});
