/** Odd requests by a client that may do everything: the handlers themselves, on a real socket. */
import { afterAll, expect, test } from "bun:test";
import type { OpenApiDocument } from "../../gateway/rest/openapi-document.ts";
import { freePorts } from "../support/free-ports.ts";
import { SEED, seeded } from "../support/random.ts";
import { rawRequest } from "../support/raw-request.ts";
import { restGateway } from "../support/rest-gateway.ts";
import { strangeRequest } from "../support/strange-requests.ts";

const gateway = await restGateway();
const url = gateway.listen(freePorts(1)[0] as number);
afterAll(() => gateway.end());

test(`S9. 3,000 malformed requests by a client that may do everything: never 500  SEED=${SEED}`, async () => {
  const random = seeded(SEED);
  const { paths } = (await (await gateway.call("GET", "/openapi/json")).json()) as OpenApiDocument;
  const aims = Object.entries(paths).flatMap(([pattern, operations]) =>
    Object.keys(operations).map((verb) => ({
      method: verb.toUpperCase(),
      path: pattern.replace("{path}", "a/b").replace("{id}", "1"),
      body: '{"rename": "c", "path": "p", "size": 1, "mode": "active", "meta": {"__proto__": ""}}',
    })),
  );
  for (let n = 0; n < 3000; n++) {
    const request = strangeRequest(aims[n % aims.length] as (typeof aims)[number], random, true);
    const { status, text } = await rawRequest(url, request);
    expect([request, status, status === 500 || text.includes("x-dfs-error: INTERNAL")]).toEqual([
      request,
      status,
      false,
    ]);
  }
  expect((await gateway.call("GET", "/health/live")).status).toBe(200);
});

const ask = (line: string, more = "") => rawRequest(url, `${line} HTTP/1.1\r\nHost: localhost\r\n${more}\r\n`);

test("S13. a target that would be resolved before it is read is refused, whatever it would become", async () => {
  await gateway.call("PUT", "/files/keep/a", { body: "x" });
  const before = await gateway.paths();
  for (const target of [
    ...["/files/keep/../moved", "/files/keep/..", "/files/./moved", "/files/keep/a/.", "/files/keep/../", "/files/."],
    ...[
      "/files/keep/%2e%2e/moved",
      "/files/keep/.%2E/moved",
      "/files/%2e/moved",
      "/x/../files/moved",
      "/../files/moved",
    ],
    ...["/files\\moved", "/files/keep\\..\\moved", "/files/keep/..\\moved", "\\files/moved", "/files/moved\\"],
    ...["/files//moved", "//files/moved", "/files/keep//../moved", "/files/moved//", "/health/live/../../files/moved"],
    ...["http://h/x/../files/moved", "/files/moved#x", "/files/moved?#", `${"/x/..".repeat(60)}/files/moved`],
    `/files${"/x".repeat(90)}/../moved`,
  ])
    for (const method of ["PUT", "GET", "DELETE"]) {
      const { status, text } = await ask(`${method} ${target}`, "Content-Length: 0\r\n");
      const refused = /x-dfs-error: (\w+)/i.exec(text)?.[1] ?? "Bun's own";
      expect([method, target, status, refused]).toEqual([
        method,
        target,
        400,
        target[0] === "\\" ? "Bun's own" : "INVALID_PATH",
      ]);
    }
  expect(await gateway.paths()).toEqual(before);
});

test("S13. dots and backslashes that are part of a name, in a path of any depth, are kept as they are", async () => {
  for (const name of [
    "...",
    ".a",
    "a..",
    "a\\b",
    "..\\",
    "a+b",
    "ü/é",
    "\ufeffa",
    "x%2e",
    "e\u0301",
    "#?;&=",
    `${"d/".repeat(150)}f`,
  ]) {
    const path = `/files/${name.split("/").map(encodeURIComponent).join("/")}`;
    expect([name, (await ask(`PUT ${path}`, "Content-Length: 0\r\n")).status]).toEqual([name, 201]);
    expect(await gateway.paths()).toContain(name);
  }
  expect((await ask("GET /health/live/")).status).toBe(200);
  expect((await ask("GET http://any.example/health/live")).status).toBe(200);
});

test("F7. a second Host, or one that is none, is refused", async () => {
  for (const host of [
    "localhost\r\nHost: localhost",
    "localhost\r\nHost: evil.example",
    "localhost, localhost",
    "a b",
    "[",
  ])
    expect([host, (await rawRequest(url, `GET /files HTTP/1.1\r\nHost: ${host}\r\n\r\n`)).status]).toEqual([host, 400]);
});

test("F7. pipelining: Bun hangs up when a request comes before the last one is answered, and does not carry it out", async () => {
  const { list } = gateway.data.namespace;
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  gateway.data.namespace.list = async (page) => {
    await released;
    return list(page);
  };
  const put = "PUT /files/pipelined HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx";
  expect(await rawRequest(url, `GET /files HTTP/1.1\r\nHost: localhost\r\n\r\n${put}`)).toEqual({
    status: null,
    text: "",
  });
  release();
  gateway.data.namespace.list = list;
  expect((await ask("GET /files")).status).toBe(200);
  expect(await gateway.paths()).not.toContain("pipelined");
});

test("F7. chunk extensions are skipped", async () => {
  const body = '4;name="value";x\r\nabcd\r\n2;y\r\nef\r\n0;z\r\n\r\n';
  const { status } = await rawRequest(
    url,
    `PUT /files/chunked HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n${body}`,
  );
  expect([status, (await gateway.bytesOf("chunked"))?.length]).toEqual([201, 6]);
});

test("F7. trailers that are announced are refused before the body is taken", async () => {
  const head =
    "PUT /files/trailed HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\nTrailer: x-crc32\r\n\r\n";
  const { status, text } = await rawRequest(url, `${head}2\r\nab\r\n0\r\nx-crc32: 00000000\r\n\r\n`);
  expect([status, text.includes("x-dfs-error: INVALID_HEADER")]).toEqual([400, true]);
  expect(await gateway.paths()).not.toContain("trailed");
});
