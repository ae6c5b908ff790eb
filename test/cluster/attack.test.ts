/** Thousands of odd requests by a stranger, each on a socket of its own, against real nodes: S1 and S9. */
import { afterAll, expect, test } from "bun:test";
import { LAUNCHED_ENV } from "../../actors/node/lifecycle.ts";
import type { OpenApiDocument } from "../../gateway/rest/openapi-document.ts";
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
}, 120_000);
