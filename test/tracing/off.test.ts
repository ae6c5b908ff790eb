/** Tracing that is off, and collectors that are no use: neither costs a request anything. */
import { afterEach, expect, test } from "bun:test";
import { resolve } from "node:path";
import { wantsTraces } from "../../actors/node/trace/exporter.ts";
import { startSpan, startTrace } from "../../actors/node/trace/span.ts";
import { freePorts } from "../support/free-ports.ts";
import { RealCluster } from "../support/real-cluster.ts";

const PROJECT = resolve(import.meta.dir, "../..");
const ended: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const end of ended.splice(0)) await end();
});

test("spans are wanted if the environment names a collector or the exporter, and are not forbidden", () => {
  const endpoint = { OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:4318" };
  expect(wantsTraces({})).toBe(false);
  expect(wantsTraces(endpoint)).toBe(true);
  expect(wantsTraces({ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: "http://127.0.0.1:4318/v1/traces" })).toBe(true);
  expect(wantsTraces({ OTEL_TRACES_EXPORTER: "otlp" })).toBe(true);
  expect(wantsTraces({ ...endpoint, OTEL_TRACES_EXPORTER: "none" })).toBe(false);
  expect(wantsTraces({ ...endpoint, OTEL_SDK_DISABLED: "true" })).toBe(false);
});

/** Starts tracing in a process of its own. @returns how many modules of OpenTelemetry it has loaded */
async function modulesLoaded(env: Record<string, string>): Promise<number> {
  const script = `
    const { startTracing } = await import("./actors/node/trace/exporter.ts");
    const { createLogger } = await import("./actors/node/log.ts");
    await startTracing({ nodeId: "x", role: "worker" }, createLogger("x", "error"), ${JSON.stringify(env)});
    console.log(Object.keys(require.cache).filter((path) => path.includes("@opentelemetry")).length);
    process.exit(0);`;
  const child = Bun.spawn([process.execPath, "-e", script], { cwd: PROJECT, stdout: "pipe" });
  return Number(await new Response(child.stdout).text());
}

test("while tracing is off nothing of OpenTelemetry is loaded, and there are no spans", async () => {
  expect(await modulesLoaded({})).toBe(0);
  expect(await modulesLoaded({ OTEL_TRACES_EXPORTER: "otlp" })).toBeGreaterThan(0);
  expect([startSpan("a"), startTrace("b", "server")]).toEqual([null, null]);
});

async function smallest(env: Record<string, string>): Promise<RealCluster> {
  const cluster = await RealCluster.start({
    workers: 1,
    config: { replicationFactor: 1, minReplicas: 1, logLevel: "debug" },
    env,
  });
  ended.push(() => cluster.stop());
  return cluster;
}

const put = (cluster: RealCluster, path: string, headers: Record<string, string> = {}) =>
  fetch(cluster.fileUrl(path), { method: "PUT", body: "content", headers });

test("while tracing is off a client's trace goes on through the nodes as it came, and their logs name it", async () => {
  const cluster = await smallest({ OTEL_SDK_DISABLED: "true", OTEL_TRACES_EXPORTER: "otlp" });
  const traceId = "4bf92f3577b34da6a3ce929d0e0e4736";
  const traceparent = `00-${traceId}-00f067aa0ba902b7-01`;
  const answer = await put(cluster, "a", { traceparent, "x-request-id": "mine-1" });
  expect([answer.status, answer.headers.get("x-request-id")]).toEqual([201, "mine-1"]);
  const untraced = await put(cluster, "b");
  const id = untraced.headers.get("x-request-id") as string;
  for (const node of ["gateway-1", "master-1", "worker-1"]) {
    const lines = cluster.logOf(node).split("\n");
    expect(lines.some((line) => line.includes(`"requestId":"mine-1","traceId":"${traceId}"`))).toBe(true);
    const ofOther = lines.filter((line) => line.includes(`"requestId":"${id}"`));
    expect(ofOther.length).toBeGreaterThan(0);
    expect(ofOther.filter((line) => line.includes("traceId"))).toEqual([]);
  }
}, 120_000);

test("a collector that takes spans and never answers holds up no put, and no stop", async () => {
  let open = 0;
  const hanging = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    idleTimeout: 0,
    fetch: () => {
      open++;
      return new Promise<Response>(() => {});
    },
  });
  ended.push(() => hanging.stop(true));
  const cluster = await smallest({
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${hanging.port}`,
    OTEL_EXPORTER_OTLP_TIMEOUT: "3600000",
    OTEL_BSP_EXPORT_TIMEOUT: "3600000",
    OTEL_BSP_SCHEDULE_DELAY: "10",
    OTEL_BSP_MAX_QUEUE_SIZE: "8",
    OTEL_BSP_MAX_EXPORT_BATCH_SIZE: "4",
  });
  expect((await put(cluster, "first")).status).toBe(201);
  await cluster.until("an export is open, and stays so", 20_000, async () => open > 0);
  const answers = await Promise.all(Array.from({ length: 50 }, (_, n) => put(cluster, `file-${n}`)));
  expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 201));
  for (const id of ["gateway-1", "worker-1", "master-1"])
    expect([id, await cluster.kill(id, "SIGTERM")]).toEqual([id, 0]);
}, 120_000);

test("a collector that is not there breaks no put, and is named once", async () => {
  const [nobody] = freePorts(1);
  const cluster = await smallest({
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${nobody}`,
    OTEL_EXPORTER_OTLP_TIMEOUT: "200",
    OTEL_BSP_SCHEDULE_DELAY: "10",
  });
  const complaints = () =>
    cluster
      .logOf("gateway-1")
      .split("\n")
      .filter((line) => line.includes("spans-not-sent"));
  for (let n = 0; complaints().length === 0; n++) {
    expect((await put(cluster, `file-${n}`)).status).toBe(201);
    await Bun.sleep(20);
  }
  for (let n = 0; n < 20; n++) expect((await put(cluster, `more-${n}`)).status).toBe(201);
  expect(complaints().length).toBe(1);
  expect(complaints()[0]).toContain("ECONNREFUSED");
}, 120_000);
