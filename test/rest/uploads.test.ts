import { afterAll, beforeEach, expect, test } from "bun:test";
import { problemOf, restGateway } from "../support/rest-gateway.ts";

const gateway = await restGateway();
afterAll(() => gateway.end());
beforeEach(() => gateway.clear());
const json = (method: string, path: string, body: unknown, headers: Record<string, string> = {}) =>
  gateway.call(method, path, {
    body: JSON.stringify(body),
    headers: { "content-type": "application/json", ...headers },
  });
const append = (url: string, offset: number | string, body: string) =>
  gateway.call("PATCH", url, { body, headers: { "upload-offset": String(offset) } });
async function open(body: object = { path: "f" }): Promise<string> {
  return (await json("POST", "/uploads", body)).headers.get("location") as string;
}

test("an upload in parts becomes a file when it is completed, not before", async () => {
  const opened = await json("POST", "/uploads", { path: "a b/f", contentType: "text/plain", meta: { owner: "me" } });
  expect([opened.status, opened.headers.get("upload-offset")]).toEqual([201, "0"]);
  const url = opened.headers.get("location") as string;
  expect(await opened.json()).toMatchObject({ path: "a b/f", offset: 0, replication: 3 });
  expect((await append(url, 0, "hello ")).headers.get("upload-offset")).toBe("6");
  const head = await gateway.call("HEAD", url);
  expect([head.status, head.headers.get("upload-offset")]).toEqual([200, "6"]);
  expect(await gateway.paths()).toEqual([]);
  expect(await (await append(url, 6, "world")).json()).toMatchObject({ offset: 11 });
  const completed = await json("POST", url, { size: 11 });
  expect([completed.status, await completed.json()]).toMatchObject([
    201,
    { path: "a b/f", size: 11, meta: { owner: "me" } },
  ]);
  expect(await (await gateway.call("GET", "/files/a%20b/f")).text()).toBe("hello world");
  expect((await gateway.call("GET", url)).status).toBe(404);
});

test("an append at the wrong offset is told the right one", async () => {
  const url = await open();
  await append(url, 0, "abc");
  const response = await append(url, 1, "x");
  expect([response.status, await problemOf(response)]).toMatchObject([
    409,
    { code: "UPLOAD_OFFSET_MISMATCH", offset: 3 },
  ]);
  for (const offset of ["", "-1", "x", "1.5"]) {
    const refused = await append(url, offset, "x");
    expect([offset, refused.status, (await problemOf(refused)).code]).toEqual([offset, 400, "INVALID_HEADER"]);
  }
  expect((await gateway.call("HEAD", url)).headers.get("upload-offset")).toBe("3");
});

test("completing with another size or checksum makes no file, and the upload stays", async () => {
  const url = await open();
  await append(url, 0, "abc");
  const bad: [object, number, string][] = [
    [{ size: 2 }, 409, "UPLOAD_OFFSET_MISMATCH"],
    [{ size: 3, crc32: "00000000" }, 400, "DIGEST_MISMATCH"],
    [{ size: -1 }, 400, "INVALID_BODY"],
    [{ size: 3, crc32: "zz" }, 400, "INVALID_BODY"],
    [{}, 400, "INVALID_BODY"],
  ];
  for (const [body, status, code] of bad) {
    const response = await json("POST", url, body);
    expect([body, response.status, (await problemOf(response)).code]).toEqual([body, status, code]);
  }
  expect(await gateway.paths()).toEqual([]);
  expect((await json("POST", url, { size: 3, crc32: "352441c2" })).status).toBe(201);
});

test("an aborted upload is gone", async () => {
  const url = await open();
  expect((await gateway.call("DELETE", url)).status).toBe(204);
  for (const response of [
    await gateway.call("GET", url),
    await append(url, 0, "x"),
    await json("POST", url, { size: 0 }),
  ])
    expect([response.status, (await problemOf(response)).code]).toEqual([404, "NO_SUCH_UPLOAD"]);
});

test("bad orders to open an upload are refused, and none is opened", async () => {
  await gateway.call("PUT", "/files/taken", { body: "x" });
  const bad: [object, Record<string, string>, number, string][] = [
    [{}, {}, 400, "INVALID_BODY"],
    [{ path: 1 }, {}, 400, "INVALID_BODY"],
    [{ path: "f", chunksize: 65536 }, {}, 400, "INVALID_BODY"],
    [{ path: "f", replication: 17 }, {}, 400, "INVALID_BODY"],
    [{ path: "f", replication: "2" }, {}, 400, "INVALID_BODY"],
    [{ path: "f", chunkSize: 65537 }, {}, 400, "INVALID_PARAMETER"],
    [{ path: "a/../b" }, {}, 400, "INVALID_PATH"],
    [{ path: "f", meta: { A: "x" } }, {}, 400, "INVALID_HEADER"],
    [{ path: "f", meta: { a: "x".repeat(3000) } }, {}, 431, "METADATA_TOO_LARGE"],
    [{ path: "f" }, { "content-type": "text/plain" }, 415, "UNSUPPORTED_MEDIA_TYPE"],
    [{ path: "taken", overwrite: false }, {}, 412, "PRECONDITION_FAILED"],
    [{ path: "taken" }, { "if-match": '"v9"' }, 412, "PRECONDITION_FAILED"],
  ];
  for (const [body, headers, status, code] of bad) {
    const response = await json("POST", "/uploads", body, headers);
    expect([body, response.status, (await problemOf(response)).code]).toEqual([body, status, code]);
  }
  expect((await gateway.call("GET", "/uploads/2")).status).toBe(404);
});

test("ids that no upload can have are NO_SUCH_UPLOAD, unknown parameters are refused", async () => {
  for (const id of ["0", "x", "-1", "99999999999999999999", "1e3"]) {
    const response = await gateway.call("GET", `/uploads/${id}`);
    expect([id, response.status, (await problemOf(response)).code]).toEqual([id, 404, "NO_SUCH_UPLOAD"]);
  }
  const url = await open();
  expect((await gateway.call("GET", `${url}?x=1`)).status).toBe(400);
});

const form = (fields: [string, string | File][]): FormData => {
  const data = new FormData();
  for (const [name, value] of fields) typeof value === "string" ? data.append(name, value) : data.append(name, value);
  return data;
};

test("a form stores its files under prefix and path, and lists them", async () => {
  const response = await gateway.call("POST", "/files?replication=2", {
    body: form([
      ["prefix", "photos/"],
      ["file", new File(["one"], "1.txt", { type: "text/plain" })],
      ["path", "else/where"],
      ["file", new File(["two"], "2.txt")],
      ["file", new File(["three"], "ü 3.bin")],
    ]),
  });
  expect(response.status).toBe(201);
  const { files } = (await response.json()) as { files: { path: string; contentType: string; replication: number }[] };
  expect(files.map(({ path }) => path)).toEqual(["photos/1.txt", "else/where", "photos/ü 3.bin"]);
  expect(files[0]).toMatchObject({ contentType: "text/plain", replication: 2 });
  expect(await (await gateway.call("GET", "/files/photos/1.txt")).text()).toBe("one");
});

test("a form's files are whole, whatever their size, and many small ones fit", async () => {
  const large = crypto.getRandomValues(new Uint8Array(60_000));
  const small = Array.from({ length: 200 }, (_, n): [string, File] => ["f", new File([`${n}`], `small/${n}`)]);
  const response = await gateway.call("POST", "/files", {
    body: form([["f", new File([large], "large")], ["f", new File([], "empty")], ...small]),
  });
  expect(response.status).toBe(201);
  expect(await gateway.paths()).toHaveLength(202);
  expect(await gateway.bytesOf("large")).toEqual(large);
  expect((await gateway.bytesOf("empty"))?.length).toBe(0);
  expect(Buffer.from((await gateway.bytesOf("small/199")) ?? []).toString()).toBe("199");
});

test("forms that make no sense are refused, and what was stored before is named", async () => {
  const raw = (body: string, type = "multipart/form-data; boundary=B") =>
    gateway.call("POST", "/files", { body, headers: { "content-type": type } });
  const part = (name: string, text: string) =>
    `--B\r\nContent-Disposition: form-data; name="f"; filename="${name}"\r\n\r\n${text}\r\n`;
  const cases: [Response, number, string][] = [
    [await raw("x", "text/plain"), 415, "UNSUPPORTED_MEDIA_TYPE"],
    [await raw("x", "multipart/form-data"), 415, "UNSUPPORTED_MEDIA_TYPE"],
    [await raw("x", "multipart/form-data; x=y"), 400, "INVALID_BODY"],
    [await raw("--B--\r\n"), 400, "INVALID_BODY"],
    [await raw(`${part("../up", "x")}--B--\r\n`), 400, "INVALID_PATH"],
    [await raw(`${part("", "x")}--B--\r\n`), 400, "INVALID_PATH"],
    [await raw(part("cut", "no end")), 400, "BODY_INCOMPLETE"],
    [
      await raw(
        `--B\r\nContent-Disposition: form-data; name="prefix"\r\n\r\n${"x".repeat(9000)}\r\n${part("p", "x")}--B--\r\n`,
      ),
      413,
      "PAYLOAD_TOO_LARGE",
    ],
  ];
  for (const [response, status, code] of cases)
    expect([response.status, (await problemOf(response)).code]).toEqual([status, code]);
  expect(await gateway.paths()).toEqual([]);
  const half = await raw(`${part("good", "1")}${part("a//b", "2")}--B--\r\n`);
  expect([half.status, await problemOf(half)]).toMatchObject([400, { code: "INVALID_PATH", stored: ["good"] }]);
});
