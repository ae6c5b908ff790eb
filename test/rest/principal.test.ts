/** Who asks: the door names a principal, and nothing below it is asked in nobody's name. */
import { afterAll, afterEach, expect, test } from "bun:test";
import { startRecording, stopRecording } from "../../actors/node/record/running-recorder.ts";
import { NodeRecords } from "../../databases/records.ts";
import { LOCAL_USER, nameOf, type Principal, SYSTEM, TOKEN_HOLDER } from "../../gateway/access/principal.ts";
import { Doors, tokenDoor } from "../../gateway/http/door.ts";
import { type RouteTable, routeTable } from "../../gateway/http/route-table.ts";
import { bodyOf, sampleBytes } from "../support/bodies.ts";
import { GatewayCluster } from "../support/gateway-cluster.ts";
import { restGateway, restGatewayOver } from "../support/rest-gateway.ts";

const shared = await restGateway();
afterAll(() => shared.end());
let cluster: GatewayCluster | null = null;
afterEach(async () => {
  await cluster?.stop();
  cluster = null;
});

/** A gateway that notes in whose name its backend is asked, from its first request on. */
function watched(token?: string) {
  const { data } = shared;
  const named: string[] = [];
  const as = (principal: Principal) => {
    named.push(nameOf(principal));
    return data.as(principal);
  };
  const { call, app } = restGatewayOver({ ...data, as }, { token });
  named.length = 0;
  return { app, call, named: () => [...new Set(named.splice(0))] };
}

const form = new FormData();
form.append("file", new File(["x"], "from-a-form"));
/** One request of each kind that reaches below the door. A HEAD goes where its GET does. */
const REQUESTS: [method: string, path: string, body?: string | FormData][] = [
  ["POST", "/files", form],
  ["PUT", "/files/f", "x"],
  ["GET", "/files/f"],
  ["HEAD", "/files/f"],
  ["GET", "/files/f?explain"],
  ["GET", "/files?prefix="],
  ["POST", "/files/f", '{"copy": "g"}'],
  ["DELETE", "/files/g"],
  ["POST", "/uploads", '{"path": "u"}'],
  ["GET", "/uploads/999"],
  ["PATCH", "/uploads/999", "x"],
  ["POST", "/uploads/999", '{"size": 1}'],
  ["DELETE", "/uploads/999"],
  ["GET", "/cluster"],
  ["GET", "/cluster/masters"],
  ["POST", "/cluster/masters", '{"transfer": "master-1"}'],
  ["GET", "/cluster/backup"],
  ["POST", "/cluster/workers/worker-1", '{"mode": "active"}'],
  ["GET", "/health/stop?worker=worker-1"],
];

for (const [token, expected] of [
  ["0123456789abcdef", TOKEN_HOLDER],
  [undefined, LOCAL_USER],
] satisfies [string | undefined, Principal][])
  test(`whatever a client asks for is asked in the name of "${nameOf(expected)}" ${token ? "if it sent the token" : "if none is asked for"}`, async () => {
    const { call, named } = watched(token);
    for (const [method, path, body] of REQUESTS) {
      const headers = {
        ...(token ? { authorization: `Bearer ${token}` } : {}),
        ...(typeof body === "string" ? { "content-type": "application/json" } : {}),
        "upload-offset": "0",
      };
      const { status } = await call(method, path, { body, headers });
      expect([method, path, status === 500, named()]).toEqual([method, path, false, [nameOf(expected)]]);
    }
  });

test("each route of the REST door that a client's token opens is among these requests", () => {
  const { app } = watched();
  const isTried = ({ matches, methods }: RouteTable[number]): boolean[] =>
    methods.map((method) =>
      REQUESTS.some(([tried, path]) => tried === method && matches.test(path.split("?")[0] ?? "")),
    );
  const ofRest = routeTable(app.routes).filter(
    ({ path, publicMethods }) => publicMethods.length === 0 && !/^\/(console|openapi|metrics|$)/.test(path),
  );
  expect(ofRest.length).toBeGreaterThan(8);
  const untried = ofRest.flatMap((route) =>
    route.methods
      .filter((method, n) => !isTried(route)[n] && method !== "OPTIONS" && method !== "HEAD")
      .map((method) => `${method} ${route.path}`),
  );
  expect(untried).toEqual([]);
});

test("a request without the token is asked of nothing below the door, in any name", async () => {
  const { call, named } = watched("0123456789abcdef");
  for (const [method, path, body] of REQUESTS) expect((await call(method, path, { body })).status).toBe(401);
  expect(named()).toEqual([]);
});

test("a probe that anyone may send is asked in the gateway's own name", async () => {
  const { call, named } = watched("0123456789abcdef");
  expect((await call("GET", "/health/ready")).status).toBe(200);
  expect(named()).toEqual([nameOf(SYSTEM)]);
});

test("uploads and downloads under way tell whose they are", async () => {
  cluster = await new GatewayCluster().up();
  const { transfers } = cluster.data.as(TOKEN_HOLDER);
  const seen: string[] = [];
  const bytes = sampleBytes(20_000);
  const before = () => void seen.push(...transfers.activity().uploads.map(({ by }) => `upload by ${by}`));
  await transfers.put({ path: "f", body: bodyOf(bytes, { before }) });
  const { file, stream } = await cluster.data.as(LOCAL_USER).transfers.openFile("f");
  const reader = stream(0, file.sizeBytes).getReader();
  await reader.read();
  seen.push(...transfers.activity().downloads.map(({ by }) => `download by ${by}`));
  await reader.cancel();
  expect([...new Set(seen)]).toEqual(["upload by token", "download by local"]);
});

test("the flight recorder names whose request was refused, and whose upload ran", async () => {
  cluster = await new GatewayCluster().up();
  const store = new NodeRecords(":memory:", { keepRecords: 1000 });
  const close = store.close.bind(store);
  store.close = () => {};
  startRecording("gateway-1", store);
  try {
    const { call } = restGatewayOver(cluster.data, { token: "0123456789abcdef" });
    const headers = { authorization: "Bearer 0123456789abcdef" };
    expect((await call("GET", "/files/nothing", { headers })).status).toBe(404);
    expect((await call("GET", "/files/nothing")).status).toBe(401);
    expect((await call("PUT", "/files/f", { body: "x", headers })).status).toBe(201);
  } finally {
    stopRecording();
  }
  const { records } = store.after({ boot: store.boot, seq: 0 }, 1000);
  close();
  const refused = records.filter(({ m }) => m === "requests").map(({ e, d }) => [e, d?.by]);
  expect(refused).toEqual([
    ["NO_SUCH_FILE", "token"],
    ["UNAUTHENTICATED", undefined],
  ]);
  expect([...new Set(records.filter(({ m }) => m === "upload").map(({ c }) => c?.by))]).toEqual(["token"]);
});

test("a path belongs to the door with the longest prefix, and a prefix ends at a segment's end", () => {
  const doors = new Doors([tokenDoor("/", null, true), tokenDoor("/console", null, false)]);
  const prefixOf = (path: string) => doors.of(path).prefix;
  expect(["/", "/files/console", "/consoles", "/console", "/console/api/about"].map(prefixOf)).toEqual([
    "/",
    "/",
    "/",
    "/console",
    "/console",
  ]);
});
