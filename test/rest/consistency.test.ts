/** How fresh an answer is: what a client may ask for, and what it is told. */
import { afterAll, beforeEach, expect, test } from "bun:test";
import { Refusal } from "../../actors/messages/errors.ts";
import { problemOf, restGateway } from "../support/rest-gateway.ts";

const gateway = await restGateway();
afterAll(() => gateway.end());
beforeEach(() => gateway.clear());
const put = (path: string, body: BodyInit = "content") => gateway.call("PUT", path, { body });
const get = (path: string) => gateway.call("GET", path);

test("reads and listings take a consistency, and say how fresh they are", async () => {
  await put("/files/f");
  for (const path of ["/files/f?", "/files/f?explain&", "/files?", "/files?limit=1&"])
    for (const [query, told] of [
      ["", "strong"],
      ["consistency=strong", "strong"],
      ["consistency=eventual", "eventual"],
    ] as const) {
      const { status, headers } = await get(path + query);
      const freshness = [headers.get("x-dfs-consistency"), headers.get("x-dfs-age-ms")];
      expect([path, query, status, ...freshness]).toEqual([path, query, 200, told, "0"]);
    }
  expect((await gateway.call("HEAD", "/files/f?consistency=eventual")).headers.get("x-dfs-consistency")).toBe(
    "eventual",
  );
  const wrong = await get("/files?consistency=weak");
  expect([wrong.status, (await problemOf(wrong)).detail]).toEqual([
    400,
    expect.stringContaining('consistency is "weak"; allowed: strong or eventual'),
  ]);
});

test("F16. what an eventual read refuses tells the age of what it knew, too, and a 304 does", async () => {
  const { data } = gateway;
  await put("/files/f");
  await put("/files/d/f");
  const { look, list } = data.namespace;
  const { openFile } = data.transfers;
  data.namespace.look = async (path, consistency) => ({ ...(await look(path, consistency)), ageMs: 700 });
  data.transfers.openFile = async (path, options) => {
    const entry = await data.namespace.stat(path);
    if (entry === null) throw new Refusal("NO_SUCH_FILE", "Not there", { path, ageMs: 700 });
    return { ...(await openFile(path, options)), ageMs: 700 };
  };
  const told = async (method: string, path: string, headers: Record<string, string> = {}) => {
    const answer = await gateway.call(method, path, { headers });
    return [answer.status, answer.headers.get("x-dfs-consistency"), answer.headers.get("x-dfs-age-ms")];
  };
  const etag = (await get("/files/f")).headers.get("etag") as string;
  for (const method of ["GET", "HEAD"])
    expect([
      await told(method, "/files/none?consistency=eventual"),
      await told(method, "/files/f?consistency=eventual", { "if-none-match": etag }),
      await told(method, "/files/f?consistency=eventual", { "if-match": '"other"' }),
      await told(method, "/files/f?consistency=eventual", { range: "bytes=9999-" }),
    ]).toEqual([404, 304, 412, 416].map((status) => [status, "eventual", "700"]));
  expect(await told("HEAD", "/files/d?consistency=eventual")).toEqual([409, "eventual", "700"]);
  expect(await told("GET", "/files/none?consistency=eventual&explain")).toEqual([404, "eventual", "0"]);

  const noLeader = (details: Record<string, unknown>) => async () => {
    throw new Refusal("NO_LEADER", "No master answers", details);
  };
  data.namespace.list = noLeader({ ageMs: 9000 });
  expect(await told("GET", "/files?consistency=eventual")).toEqual([503, "eventual", "9000"]);
  data.namespace.list = noLeader({});
  expect(await told("GET", "/files?consistency=eventual")).toEqual([503, "eventual", "unknown"]);
  expect(await told("GET", "/files")).toEqual([503, null, null]);
  data.namespace.list = list;
  expect(await told("GET", "/files?consistency=eventual")).toEqual([200, "eventual", "0"]);
});
