/** Thousands of odd requests by a stranger, each on a socket of its own, against real nodes: S1 and S9. */
import { afterAll, expect, test } from "bun:test";
import { LAUNCHED_ENV } from "../../actors/node/lifecycle.ts";
import type { OpenApiDocument } from "../../gateway/rest/openapi-document.ts";
import { until } from "../support/fair-time.ts";
import { freePorts } from "../support/free-ports.ts";
import { SEED, seeded } from "../support/random.ts";
import { type RawAnswer, rawRequest } from "../support/raw-request.ts";
import { RealCluster } from "../support/real-cluster.ts";
import { type Aim, strangeRequest } from "../support/strange-requests.ts";

const TOKEN = "the-token-of-this-test";
/** The file that is aimed at; its content, and a name that no request holds, betray what was let out. */
const VICTIM = "kept.txt";
const CANARY = "canary";
const AT_ONCE = 16;

const cluster = await RealCluster.start({ masters: 1, workers: 3 });
const guarded = `http://127.0.0.1:${freePorts(1)[0]}`;
const gateway = Bun.spawn({
  cmd: [
    ...[process.execPath, "gateway/gateway.ts", "--config", cluster.configPath],
    ...["--id", "gateway-2", "--url", guarded],
  ],
  env: { ...Bun.env, [LAUNCHED_ENV]: "1", DFS_GATEWAY_TOKEN: TOKEN },
  stdin: "pipe",
  stdout: "ignore",
  stderr: "inherit",
});
afterAll(async () => {
  gateway.kill();
  await gateway.exited;
  await cluster.stop();
});
await cluster.until("the guarded gateway is ready", 20_000, async () => (await fetch(`${guarded}/health/ready`)).ok);
await cluster.client.put(VICTIM, CANARY);
await cluster.client.put(CANARY, "x");
const headers = { authorization: `Bearer ${TOKEN}` };
const { paths } = (await (await fetch(`${guarded}/openapi/json`, { headers })).json()) as OpenApiDocument;

const HARM: Record<string, string> = {
  "POST /files/{path}": '{"rename": "stolen"}',
  "POST /uploads": '{"path": "planted"}',
  "POST /cluster/workers/{id}": '{"mode": "draining"}',
  "POST /cluster/masters": '{"remove": "master-1"}',
  "POST /console/api/drills": '{"kind": "kill", "node": "worker-1"}',
};
const aims: (Aim & { isPublic: boolean })[] = Object.entries(paths).flatMap(([pattern, operations]) =>
  Object.entries(operations).map(([verb, operation]) => ({
    method: verb.toUpperCase(),
    path: pattern.replace("{path}", VICTIM).replace("{id}", "worker-1"),
    body: HARM[`${verb.toUpperCase()} ${pattern}`] ?? "planted",
    isPublic: (operation as { security?: unknown[] }).security?.length === 0,
  })),
);

/** What a stranger must not be able to change: names and versions, modes, voters. */
async function state(): Promise<unknown> {
  const read = async (path: string) => (await (await fetch(`${cluster.url}${path}`)).json()) as never;
  const { workers, files }: { workers: { id: string; mode: string; state: string }[]; files: unknown } =
    await read("/cluster");
  const { masters }: { masters: { id: string; member: string }[] } = await read("/cluster/masters");
  const { entries }: { entries: unknown } = await read("/files");
  return {
    ...{ entries, files },
    workers: workers.map(({ id, mode }) => [id, mode]).sort(),
    masters: masters.map(({ id, member }) => [id, member]),
  };
}

async function each(requests: string[], url: string, judge: (answer: RawAnswer, request: string) => void) {
  let next = 0;
  const ask = async (): Promise<void> => {
    for (let request = requests[next++]; request !== undefined; request = requests[next++])
      judge(await rawRequest(url, request), request);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, ask));
}

/** What Bun answers before any of our code runs: bad syntax, other versions, too long; or it hangs up. */
const BUNS_OWN = new Set([null, 400, 413, 431, 505]);

/** Whether the request asks, in so many words, for what is open to all. */
function asksForPublic(request: string): boolean {
  const [, method = "", target = ""] = /^(\S+) (\S*) HTTP/.exec(request) ?? [];
  const path = target.replace(/^https?:\/\/[^/]*/i, "").replace(/\?.*$/, "");
  const isRead = method === "GET" || method === "HEAD";
  return isRead && /^(\/health\/live|\/health\/ready|\/console|\/console\/assets\/[^/]+)\/?$/.test(decodeURI(path));
}

test(`S1. every route × 200 strange targets and hosts × no credential: 401 or 400, and nothing changed  SEED=${SEED}`, async () => {
  const random = seeded(SEED);
  expect(aims.filter(({ isPublic }) => isPublic).map(({ path }) => path)).toEqual([
    "/health/live",
    "/health/ready",
    "/console",
    "/console/assets/worker-1",
  ]);
  expect(aims.length).toBeGreaterThanOrEqual(30);
  const before = await state();
  const requests = aims.flatMap((aim) => Array.from({ length: 200 }, () => strangeRequest(aim, random)));
  let refused = 0;
  await each(requests, guarded, ({ status, text }, request) => {
    expect([request, text.includes(CANARY)]).toEqual([request, false]);
    if (status === 401 || BUNS_OWN.has(status)) refused++;
    else expect([request, status, asksForPublic(request)]).toEqual([request, status, true]);
  });
  expect(refused).toBeGreaterThan(requests.length * 0.8);
  expect(await state()).toEqual(before);
});

const NODE_ROUTES: [url: string, aims: [method: string, path: string][]][] = [
  [
    cluster.urlOf("master-1"),
    [
      ["POST", "/messages"],
      ["POST", "/messages/batch"],
      ["GET", "/raft/backup"],
      ["GET", "/raft/snapshots/1"],
    ],
  ],
  [
    cluster.urlOf("worker-1"),
    [
      ["POST", "/messages"],
      ["POST", "/messages/batch"],
      ["PUT", "/chunks/0000000000000001/blocks/0"],
      ["GET", "/chunks/0000000000000001/blocks/0"],
    ],
  ],
];

test(`S9. 4,000 malformed requests to a master and a worker: never 500, nothing changed  SEED=${SEED}`, async () => {
  const random = seeded(SEED);
  const before = await state();
  for (const [url, routes] of NODE_ROUTES) {
    const open = ["/health/live", "/health/ready", "/metrics"].map((path): [string, string] => ["GET", path]);
    const requests = [...routes, ...open].flatMap(([method, path]) =>
      Array.from({ length: 300 }, () => strangeRequest({ method, path, body: "planted" }, random)),
    );
    await each(requests, url, ({ status, text }, request) => {
      const isReadiness = status === 503 && asksForPublic(request);
      const isOurFault = status !== null && status >= 500 && status !== 505 && !isReadiness;
      expect([request, status, isOurFault]).toEqual([request, status, false]);
      if (status === 200 || status === 206) expect(request).toMatch(/^(GET|HEAD) \S*(health|metrics)/i);
      expect(text).not.toContain(CANARY);
    });
    expect((await fetch(`${url}/health/live`)).status).toBe(200);
  }
  expect(await state()).toEqual(before);
});

test("S9. a load balancer's probe in HTTP/1.0 without Host is answered by every node, and nothing else is", async () => {
  for (const url of [guarded, cluster.url, cluster.urlOf("master-1"), cluster.urlOf("worker-1")]) {
    for (const path of ["/health/live", "/health/ready"])
      for (const head of [`GET ${path} HTTP/1.0\r\n\r\n`, `HEAD ${path} HTTP/1.1\r\nHost:\r\n\r\n`])
        await until(`${url} answers ${head}`, async () => (await rawRequest(url, head)).status === 200);
    for (const path of ["/", "/metrics", "/files", "/health/live/x", "/raft/snapshots/1", "/chunks/1/blocks/1"]) {
      const { status } = await rawRequest(url, `GET ${path} HTTP/1.0\r\n\r\n`);
      expect([url, path, status]).toEqual([url, path, 400]);
    }
  }
});
