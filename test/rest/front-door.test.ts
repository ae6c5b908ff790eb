import { afterAll, afterEach, expect, test } from "bun:test";
import { Refusal } from "../../actors/messages/errors.ts";
import { refusalFrom } from "../../actors/node/http/answers.ts";
import { stopRisk } from "../../gateway/rest/health.ts";
import { until } from "../support/fair-time.ts";
import { freePorts } from "../support/free-ports.ts";
import { hangUpAfter, rawRequest } from "../support/raw-request.ts";
import { problemOf, restGateway } from "../support/rest-gateway.ts";

const shared = await restGateway();
const doors: ReturnType<typeof shared.door>[] = [];
/** Another door to the same cluster. */
const start = (options: { token?: string } = {}) => {
  const door = shared.door(options);
  doors.push(door);
  return door;
};
afterEach(async () => {
  for (const door of doors.splice(0)) await door.stop();
  await shared.clear();
});
afterAll(() => shared.end());

test("unknown routes and wrong methods are told apart, with Allow", async () => {
  const { call } = start();
  for (const path of ["/nope", "/cluster/workers", "/uploads/1/2", "/filesystem"]) {
    const response = await call("GET", path);
    expect([path, response.status]).toEqual([path, 404]);
    expect((await problemOf(response)).code).toBe("NO_SUCH_ROUTE");
  }
  const wrong: [string, string][] = [
    ["PATCH", "/files/x"],
    ["PUT", "/files"],
    ["DELETE", "/files"],
    ["PUT", "/uploads/1"],
    ["GET", "/uploads"],
    ["POST", "/cluster"],
    ["GET", "/cluster/workers/worker-1"],
    ["DELETE", "/health/live"],
    ["POST", "/health/ready"],
    ["POST", "/health/stop"],
    ["POST", "/metrics"],
    ["POST", "/openapi"],
    ["PUT", "/openapi/json"],
    ["POST", "/"],
    ["OPTIONS", "/files/x"],
  ];
  for (const [method, path] of wrong) {
    const response = await call(method, path, method === "GET" ? {} : { body: "x" });
    expect([method, path, response.status]).toEqual([method, path, 405]);
    expect(response.headers.get("allow")?.split(", ")).not.toContain(method);
    expect(response.headers.get("allow")).not.toBe("");
    expect((await problemOf(response)).code).toBe("METHOD_NOT_ALLOWED");
  }
  expect(await shared.paths()).toEqual([]);
});

test("every answer has a request id, the client's own if it sends a plain one", async () => {
  const { call } = start();
  const given = await call("GET", "/nope", { headers: { "x-request-id": "mine-1" } });
  expect(given.headers.get("x-request-id")).toBe("mine-1");
  expect(await problemOf(given)).toMatchObject({
    instance: "urn:request:mine-1",
    status: 404,
    type: "/openapi#NO_SUCH_ROUTE",
  });
  const odd = await call("GET", "/health/live", { headers: { "x-request-id": "not plain!" } });
  expect(odd.headers.get("x-request-id")).toMatch(/^[0-9a-f-]{36}$/);
});

test("our own failure is INTERNAL with the request id and no stack", async () => {
  const { call, data } = start();
  data.namespace.look = async () => {
    throw new TypeError("secret detail");
  };
  const response = await call("HEAD", "/files/x");
  expect(response.status).toBe(500);
  data.namespace.list = async () => {
    throw new TypeError("secret detail");
  };
  const list = await call("GET", "/files");
  const problem = await list.text();
  expect([list.status, list.headers.get("content-type")]).toEqual([500, "application/problem+json"]);
  expect(problem).toContain('"code":"INTERNAL"');
  expect(problem).not.toContain("secret");
});

test("67b. a cluster that cannot serve is told at once, with the reason and Retry-After", async () => {
  const { call, data } = start();
  for (const code of ["NO_LEADER", "NOT_ENOUGH_WORKERS", "OVERLOADED"] as const) {
    data.refusal = new Refusal(code, `because of ${code}`);
    for (const response of [await call("PUT", "/files/f", { body: "x" }), await call("GET", "/files/f")]) {
      expect(response.status).toBe(503);
      expect(Number(response.headers.get("retry-after"))).toBeGreaterThan(0);
      expect(await problemOf(response)).toMatchObject({ code, detail: `because of ${code}` });
    }
  }
});

test("with a token, everything but probes and the console's page asks for it", async () => {
  const { call } = start({ token: "s3cret" });
  expect((await call("GET", "/health/live")).status).toBe(200);
  for (const authorization of [undefined, "Bearer wrong", "Basic s3cret", "Bearer"]) {
    const headers: Record<string, string> = authorization ? { authorization } : {};
    for (const path of ["/files/f", "/files", "/metrics", "/openapi", "/nope", "/"]) {
      const response = await call("GET", path, { headers });
      expect([path, response.status, response.headers.get("www-authenticate")]).toEqual([
        path,
        401,
        'Bearer realm="dfs"',
      ]);
      expect((await problemOf(response)).code).toBe("UNAUTHENTICATED");
    }
    expect((await call("PUT", "/files/f", { body: "x", headers })).status).toBe(401);
  }
  expect(await shared.paths()).toEqual([]);
  expect((await call("PUT", "/files/f", { body: "x", headers: { authorization: "Bearer s3cret" } })).status).toBe(201);
});

test("a page of another site changes nothing, one of this origin may", async () => {
  const { call } = start();
  const form = () => {
    const data = new FormData();
    data.append("f", new File(["x"], "f"));
    return data;
  };
  for (const origin of ["https://evil.example", "null", "http://localhost:1"]) {
    const response = await call("POST", "/files", { body: form(), headers: { origin } });
    expect([response.status, (await problemOf(response)).code]).toEqual([403, "CROSS_SITE"]);
  }
  expect(await shared.paths()).toEqual([]);
  expect((await call("POST", "/files", { body: form(), headers: { origin: "http://localhost" } })).status).toBe(201);
});

test("without a token, a name that somebody else's name server leads here is refused on every route", async () => {
  const open = start();
  const asked = (host: string, path = "/files", method = "GET", gateway = open) =>
    gateway.app.handle(new Request(`http://${host}${path}`, { method }));
  for (const host of [
    "evil.example",
    "evil.example:8080",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "10.0.0.1",
    "bucket.localhost",
    "localhost.",
  ])
    for (const [path, method] of [["/files"], ["/cluster"], ["/files/x", "DELETE"], ["/nope"], ["/metrics"]] as const) {
      const response = await asked(host, path, method);
      expect([host, path, response.status, (await problemOf(response)).code]).toEqual([host, path, 403, "WRONG_HOST"]);
    }
  for (const host of ["localhost:8080", "LOCALHOST", "127.0.0.1", "127.1.2.3:1", "[::1]:8080"])
    expect([host, (await asked(host)).status]).toEqual([host, 200]);
  const guarded = start({ token: "s3cret" });
  const headers = { authorization: "Bearer s3cret" };
  expect((await guarded.app.handle(new Request("http://files.example/files", { headers }))).status).toBe(200);
});

test("a gateway that stops takes nothing new, but still says it lives", async () => {
  const { call, gateway } = start();
  gateway.stopping = true;
  expect((await problemOf(await call("PUT", "/files/f", { body: "x" }))).code).toBe("NOT_READY");
  expect((await call("GET", "/health/live")).status).toBe(200);
});

test("ready names what is in the way", async () => {
  const { call, data } = start();
  expect((await call("GET", "/health/ready")).status).toBe(200);
  const state = await data.operations.clusterState();
  const workers = state.workers.map((worker, n) => (n > 0 ? { ...worker, state: "dead" } : worker));
  data.operations.clusterState = async () => ({ ...state, workers });
  const few = await call("GET", "/health/ready");
  expect([few.status, await problemOf(few)]).toMatchObject([
    503,
    { code: "NOT_ENOUGH_WORKERS", blockers: [{ message: "1 live workers, 2 needed (minReplicas)" }] },
  ]);
  data.restore();
  data.refusal = new Refusal("NO_LEADER", "nobody answers");
  expect((await problemOf(await call("GET", "/health/ready"))).code).toBe("NO_LEADER");
});

test("a worker is safe to stop only if nobody would notice", async () => {
  const { call, data } = start();
  const stop = (worker: string) => call("GET", `/health/stop?worker=${worker}`);
  expect((await stop("worker-1")).status).toBe(200);
  expect((await stop("worker-9")).status).toBe(404);
  expect((await call("GET", "/health/stop")).status).toBe(400);
  const state = await data.operations.clusterState();
  const workers = state.workers.map((worker, n) => (n === 0 ? { ...worker, chunksAtRiskIfStopped: 4 } : worker));
  data.operations.clusterState = async () => ({ ...state, workers });
  const risky = await stop("worker-1");
  expect([risky.status, (await problemOf(risky)).detail]).toEqual([
    412,
    "4 chunks would have fewer than 2 copies without it",
  ]);
  expect(stopRisk({ ...state, steward: "safeMode" }, "worker-2", 2)).toContain("new");
  expect(stopRisk({ ...state, workers: workers.slice(0, 2) }, "worker-2", 2)).toContain("1 live");
});

test("the cluster's state has the gateway's own account, and a worker's mode can be set", async () => {
  const { call, data } = start();
  expect(await (await call("GET", "/cluster")).json()).toMatchObject({
    leader: "master-1",
    gateway: { id: "gateway-1", uploads: [] },
  });
  const setMode = (worker: string, body: unknown, type = "application/json") =>
    call("POST", `/cluster/workers/${worker}`, { body: JSON.stringify(body), headers: { "content-type": type } });
  const bad: [Response, number, string][] = [
    [await setMode("worker-9", { mode: "draining" }), 404, "NO_SUCH_WORKER"],
    [await setMode("worker-1", { mode: "asleep" }), 400, "INVALID_BODY"],
    [await setMode("worker-1", {}), 400, "INVALID_BODY"],
    [await setMode("worker-1", { mode: "draining" }, "text/plain"), 415, "UNSUPPORTED_MEDIA_TYPE"],
  ];
  for (const [response, status, code] of bad)
    expect([response.status, (await problemOf(response)).code]).toEqual([status, code]);
  expect((await data.operations.clusterState()).workers[0]?.mode).toBe("active");
  expect((await setMode("worker-1", { mode: "draining" })).status).toBe(200);
  expect((await data.operations.clusterState()).workers[0]?.mode).toBe("draining");
  await setMode("worker-1", { mode: "active" });
});

test("metrics count requests by route and tell redundancy, or that no leader answers", async () => {
  const { call, data } = start();
  await call("PUT", "/files/one", { body: "of one chunk".repeat(1000) });
  await call("PUT", "/files/tiny", { body: "of no chunk" });
  await call("GET", "/files/some/name");
  const text = await (await call("GET", "/metrics")).text();
  expect(text).toContain(
    'dfs_gateway_http_requests_total{method="GET",route="/files/{path}",status="404",gateway="gateway-1"} 1',
  );
  expect(text).toContain('dfs_cluster_chunks_full{gateway="gateway-1"} 1');
  expect(text).toContain('dfs_cluster_tiny_file_bytes{gateway="gateway-1"} 11');
  expect(text).toContain('dfs_gateway_leader_reachable{gateway="gateway-1"} 1');
  expect(text).toMatch(/process_resident_memory_bytes\{.*\} \d{6,}/);
  data.refusal = new Refusal("NO_LEADER", "gone");
  const without = await (await call("GET", "/metrics")).text();
  expect(without).toContain('dfs_gateway_leader_reachable{gateway="gateway-1"} 0');
  expect(without).not.toContain('dfs_cluster_chunks_full{gateway="gateway-1"}');
});

test("a body cut short stores nothing, on a real connection", async () => {
  const gateway = start();
  const url = gateway.listen(freePorts(1)[0] as number);
  await hangUpAfter(url, "PUT /files/cut HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nabc");
  await hangUpAfter(
    url,
    "PUT /files/cut HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
  );
  const part = '--B\r\nContent-Disposition: form-data; name="f"; filename="cut"\r\n\r\nabc';
  const form = `POST /files HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=B\r\n`;
  await hangUpAfter(url, `${form}Content-Length: 500\r\n\r\n${part}`);
  const whole = await rawRequest(url, `${form}Content-Length: ${part.length}\r\n\r\n${part}`);
  expect(whole.text).toContain("BODY_INCOMPLETE");
  const json =
    "POST /files/x HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{";
  await hangUpAfter(url, json);
  expect(await shared.paths()).toEqual([]);
  const upload = await gateway.data.transfers.openUpload({ path: "kept" });
  const patch = `PATCH /uploads/${upload.uploadId} HTTP/1.1\r\nHost: localhost\r\nUpload-Offset: 0\r\nContent-Length: 100\r\n\r\nabc`;
  const { transfers } = gateway.data;
  await hangUpAfter(url, patch, () => until("it is under way", () => transfers.activity().uploads.length > 0));
  await until("what came is kept", async () => (await transfers.uploadStatus(upload.uploadId)).offset === 3);
});

test("a refused put is answered without its body being read", async () => {
  const gateway = start();
  const url = gateway.listen(freePorts(1)[0] as number);
  gateway.data.refusal = new Refusal("NOT_ENOUGH_WORKERS", "1 live worker, 2 needed");
  const { status, text } = await rawRequest(
    url,
    "PUT /files/f HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000000000\r\n\r\nabc",
  );
  expect(status).toBe(503);
  expect(text).toContain("NOT_ENOUGH_WORKERS");
});

test("headers beyond what HTTP bears get 431, metadata in UTF-8 comes back as it was", async () => {
  const gateway = start();
  const url = gateway.listen(freePorts(1)[0] as number);
  const { status } = await rawRequest(
    url,
    `PUT /files/f HTTP/1.1\r\nHost: localhost\r\nx-meta-a: ${"x".repeat(40_000)}\r\nContent-Length: 1\r\n\r\nx`,
  );
  expect(status).toBe(431);
  expect(await shared.paths()).toEqual([]);
  const inUtf8 = Buffer.from("über").toString("latin1");
  await rawRequest(
    url,
    `PUT /files/f HTTP/1.1\r\nHost: localhost\r\nx-meta-a: ${inUtf8}\r\nContent-Length: 1\r\n\r\nx`,
  );
  expect(await gateway.data.namespace.stat("f")).toMatchObject({ userMetadata: { a: "über" } });
  const read = await rawRequest(url, "GET /files/f HTTP/1.1\r\nHost: localhost\r\n\r\n");
  expect(read.text).toContain(`x-meta-a: ${inUtf8}\r\n`);
});

test("curl waits for 100 Continue and gets it; HEAD on the wire has the length; a Host of two letters is no trap", async () => {
  const gateway = start({ token: "t" });
  const url = gateway.listen(freePorts(1)[0] as number);
  const { text: put } = await rawRequest(
    url,
    "PUT /files/f HTTP/1.1\r\nHost: s3\r\nAuthorization: Bearer t\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc",
  );
  expect(put).toStartWith("HTTP/1.1 100 Continue");
  expect(put).toContain("HTTP/1.1 201");
  const head = await fetch(`${url}/files/f`, { method: "HEAD", headers: { authorization: "Bearer t" } });
  expect(head.headers.get("content-length")).toBe("3");
});

test("a download that fails midway is cut, never ended as if whole", async () => {
  const gateway = start();
  const url = gateway.listen(freePorts(1)[0] as number);
  await gateway.call("PUT", "/files/f", { body: "x".repeat(50_000) });
  const { openFile } = gateway.data.transfers;
  gateway.data.transfers.openFile = async (path) => {
    const opened = await openFile(path);
    let pulls = 0;
    return {
      ...opened,
      bytes: async () => {
        throw new Refusal("DATA_UNAVAILABLE", "no good copy");
      },
      stream: () =>
        new ReadableStream({
          async pull(controller) {
            await Bun.sleep(5);
            if (pulls++ < 3) controller.enqueue(new Uint8Array(1000));
            else controller.error(new Refusal("DATA_UNAVAILABLE", "no good copy"));
          },
        }),
    };
  };
  const response = await fetch(`${url}/files/f`);
  expect(response.bytes()).rejects.toThrow();
  gateway.gateway.config.blockSizeBytes = 1 << 20;
  const small = await fetch(`${url}/files/f`);
  expect([small.status, (await problemOf(small)).code]).toEqual([503, "DATA_UNAVAILABLE"]);
});

test("F15. whatever a node refuses this gateway as a node does not reach the client as its own fault", async () => {
  const { call, data } = start();
  for (const code of ["UNAUTHENTICATED", "WRONG_CLUSTER", "INVALID_MESSAGE", "CHUNK_INCOMPLETE", "NOT_LEADER"]) {
    data.namespace.list = async () => {
      throw refusalFrom({ status: 400, value: { code, message: "no", details: {} } }, "http://worker-1");
    };
    const answer = await call("GET", "/files");
    expect([code, answer.status]).toEqual([code, 503]);
    expect((await problemOf(answer)).detail).toContain("http://worker-1");
  }
  data.namespace.list = async () => {
    throw refusalFrom({ status: 503, value: { code: "NOT_ENOUGH_WORKERS", message: "too few", details: {} } }, "m");
  };
  expect((await problemOf(await call("GET", "/files"))).code).toBe("NOT_ENOUGH_WORKERS");
});
