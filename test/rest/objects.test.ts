import { afterAll, beforeEach, expect, spyOn, test } from "bun:test";
import { bytesOf } from "../support/bodies.ts";
import { problemOf, restGateway } from "../support/rest-gateway.ts";

const gateway = await restGateway();
afterAll(() => gateway.end());
beforeEach(() => gateway.clear());
const put = (path: string, body: BodyInit = "content", headers: Record<string, string> = {}) =>
  gateway.call("PUT", path, { body, headers });
const get = (path: string, headers: Record<string, string> = {}) => gateway.call("GET", path, { headers });

test("a put file comes back with the same bytes, type, metadata, tag and checksum", async () => {
  const created = await put("/files/a/b.txt", "hello", { "content-type": "text/plain", "x-meta-owner": "me" });
  expect(created.status).toBe(201);
  expect(created.headers.get("location")).toBe("/files/a/b.txt");
  const told = (await created.json()) as { etag: string };
  expect(told).toMatchObject({
    path: "a/b.txt",
    size: 5,
    etag: expect.stringMatching(/^"3610a686-\w+"$/),
    crc32: "3610a686",
    contentType: "text/plain",
    sha256: null,
    meta: { owner: "me" },
  });
  const read = await get("/files/a/b.txt");
  expect(read.status).toBe(200);
  expect(await read.text()).toBe("hello");
  expect(Object.fromEntries(read.headers)).toMatchObject({
    etag: told.etag,
    "content-type": "text/plain",
    "content-length": "5",
    "accept-ranges": "bytes",
    "x-crc32": "3610a686",
    "x-meta-owner": "me",
    "x-content-type-options": "nosniff",
    "content-security-policy": "sandbox",
  });
  expect((await put("/files/a/b.txt", "again")).status).toBe(200);
});

test("names with spaces, Unicode, ?, #, +, % and %2F survive the round trip", async () => {
  for (const name of ["a b", "ü/日本語.txt", "why?", "c#", "1+1", "100%", "%2F", "semi;colon", "quote'\"", "😀"]) {
    const url = `/files/${name.split("/").map(encodeURIComponent).join("/")}`;
    expect((await put(url, name)).status).toBe(201);
    expect(await gateway.paths()).toContain(name);
    expect(await (await get(url)).text()).toBe(name);
  }
  expect((await put("/files/dir%2Ffile", "x")).status).toBe(201);
  expect(await (await get("/files/dir/file")).text()).toBe("x");
});

test("bad paths are refused and touch nothing", async () => {
  const bad = ["a//b", "%zz", "%ff", "a%00b", "..%2Fb", "a/..%2fb", "/a", "a/", `${"x".repeat(4097)}`];
  for (const path of bad)
    for (const method of ["PUT", "GET", "HEAD", "DELETE", "POST"]) {
      const response = await gateway.call(method, `/files/${path}`, method === "PUT" ? { body: "x" } : {});
      expect([method, path, response.status]).toEqual([method, path, 400]);
      if (method !== "HEAD") expect((await problemOf(response)).code).toBe("INVALID_PATH");
    }
  expect(await gateway.paths()).toEqual([]);
});

test("HEAD tells the length and headers of GET, and sends nothing", async () => {
  await put("/files/f", "x".repeat(100_000));
  const head = await gateway.call("HEAD", "/files/f");
  expect([head.status, head.headers.get("content-length"), await head.text()]).toEqual([200, "100000", ""]);
  const part = await gateway.call("HEAD", "/files/f", { headers: { range: "bytes=0-9" } });
  expect([part.status, part.headers.get("content-length")]).toEqual([206, "10"]);
  const none = await gateway.call("HEAD", "/files/none");
  expect([none.status, none.headers.get("x-dfs-error")]).toEqual([404, "NO_SUCH_FILE"]);
});

test("one range answers 206 with Content-Range, several a multipart body of the stated length", async () => {
  await put("/files/f", "0123456789");
  const one = await get("/files/f", { range: "bytes=2-4" });
  expect([one.status, one.headers.get("content-range"), await one.text()]).toEqual([206, "bytes 2-4/10", "234"]);
  const suffix = await get("/files/f", { range: "bytes=-3" });
  expect([suffix.status, await suffix.text()]).toEqual([206, "789"]);
  const several = await get("/files/f", { range: "bytes=0-1,8-9" });
  const type = several.headers.get("content-type") as string;
  const body = await several.text();
  const boundary = type.split("boundary=")[1];
  expect(several.status).toBe(206);
  expect(type).toStartWith("multipart/byteranges; boundary=");
  expect(Number(several.headers.get("content-length"))).toBe(body.length);
  const part = (range: string, text: string) =>
    `--${boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes ${range}/10\r\n\r\n${text}\r\n`;
  expect(body).toBe(`${part("0-1", "01")}${part("8-9", "89")}--${boundary}--\r\n`);
});

test("ranges of a long file are streamed and right", async () => {
  const content = crypto.getRandomValues(new Uint8Array(60_000));
  await put("/files/f", content);
  const middle = await get("/files/f", { range: "bytes=10000-49999" });
  expect((await bytesOf(middle)).equals(content.subarray(10_000, 50_000))).toBe(true);
  expect((await bytesOf(await get("/files/f"))).equals(content)).toBe(true);
});

test("a range outside the file, or none at all, gets 416 and the size", async () => {
  await put("/files/f", "0123456789");
  for (const range of ["bytes=10-", "bytes=5-2", "bytes=x", "bytes=-0", `bytes=${"0-0,".repeat(40)}`]) {
    const response = await get("/files/f", { range });
    expect([response.status, response.headers.get("content-range")]).toEqual([416, "bytes */10"]);
    expect((await problemOf(response)).code).toBe("RANGE_NOT_SATISFIABLE");
  }
  expect((await get("/files/f", { range: "bytes=0-1", "if-range": '"other"' })).status).toBe(200);
});

test("conditional reads answer 304 and 412", async () => {
  const etag = (await put("/files/f")).headers.get("etag") as string;
  const unchanged = await get("/files/f", { "if-none-match": etag });
  expect([unchanged.status, unchanged.headers.get("etag"), await unchanged.text()]).toEqual([304, etag, ""]);
  const failed = await get("/files/f", { "if-match": '"v9"' });
  expect([failed.status, (await problemOf(failed)).code]).toEqual([412, "PRECONDITION_FAILED"]);
  const wrong = await get("/files/f", { "if-match": "v9" });
  expect([wrong.status, (await problemOf(wrong)).code]).toEqual([400, "INVALID_HEADER"]);
});

test("?download names the file in ASCII and in full", async () => {
  await put("/files/a/b%C3%BC%22.txt");
  const response = await get("/files/a/b%C3%BC%22.txt?download");
  expect(response.headers.get("content-disposition")).toBe(
    `attachment; filename="b__.txt"; filename*=UTF-8''b%C3%BC%22.txt`,
  );
  const renamed = await get("/files/a/b%C3%BC%22.txt?download=x.txt");
  expect(renamed.headers.get("content-disposition")).toStartWith('attachment; filename="x.txt"');
});

test("conditional writes create once, replace one version, and change nothing when they fail", async () => {
  expect((await put("/files/f", "one", { "if-none-match": "*" })).status).toBe(201);
  const failing: Record<string, string>[] = [{ "if-none-match": "*" }, { "if-match": '"v9"' }];
  for (const headers of failing) {
    const response = await put("/files/f", "two", headers);
    expect([response.status, (await problemOf(response)).code]).toEqual([412, "PRECONDITION_FAILED"]);
  }
  expect(await (await get("/files/f")).text()).toBe("one");
  const etag = (await get("/files/f")).headers.get("etag") as string;
  expect((await put("/files/f", "two", { "if-match": etag })).status).toBe(200);
  expect((await put("/files/f", "three", { "if-match": "*" })).status).toBe(200);
  expect((await put("/files/none", "x", { "if-match": "*" })).status).toBe(412);
});

test("digests are checked, kept and told", async () => {
  const sha256 = (text: string) => new Bun.CryptoHasher("sha256").update(text).digest("base64");
  const good = `sha-256=:${sha256("content")}:`;
  expect((await put("/files/f", "content", { "repr-digest": good, "x-crc32": "ec94b7dc" })).status).toBe(400);
  const crc32 = Bun.hash.crc32("content").toString(16).padStart(8, "0");
  expect((await put("/files/f", "content", { "repr-digest": good, "x-crc32": crc32 })).status).toBe(201);
  expect((await get("/files/f")).headers.get("repr-digest")).toBe(good);
  await put("/files/g", "other", { "want-repr-digest": "sha-256=1" });
  expect((await get("/files/g")).headers.get("repr-digest")).toBe(`sha-256=:${sha256("other")}:`);
  const wrong = await put("/files/h", "x", { "content-digest": good });
  expect([wrong.status, (await problemOf(wrong)).code]).toEqual([400, "DIGEST_MISMATCH"]);
  expect(await gateway.paths()).not.toContain("h");
});

test("bad headers of a put are refused with their code, and nothing is stored", async () => {
  const bad: [Record<string, string>, number, string][] = [
    [{ "content-range": "bytes 0-1/2" }, 400, "INVALID_HEADER"],
    [{ "x-crc32": "xyz" }, 400, "INVALID_HEADER"],
    [{ "repr-digest": "sha-256=:AAAA:" }, 400, "INVALID_HEADER"],
    [{ "content-type": "nonsense" }, 400, "INVALID_HEADER"],
    [{ "if-none-match": '"v1"' }, 400, "INVALID_HEADER"],
    [{ "if-match": "unquoted" }, 400, "INVALID_HEADER"],
    [{ "idempotency-key": "has space" }, 400, "INVALID_HEADER"],
    [{ "idempotency-key": "x".repeat(256) }, 400, "INVALID_HEADER"],
    [{ "x-meta-a": "x".repeat(2049) }, 431, "METADATA_TOO_LARGE"],
    [
      Object.fromEntries(Array.from({ length: 9 }, (_, n) => [`x-meta-${n}`, "x".repeat(1000)])),
      431,
      "METADATA_TOO_LARGE",
    ],
  ];
  for (const [headers, status, code] of bad) {
    const response = await put("/files/f", "x", headers);
    expect([headers, response.status, (await problemOf(response)).code]).toEqual([headers, status, code]);
  }
  expect(await gateway.paths()).toEqual([]);
});

test("bad parameters are refused with name, value and what is allowed", async () => {
  for (const query of [
    "replication=0",
    "replication=17",
    "replication=two",
    "replication=",
    "chunkSize=65537",
    "chunkSize=1",
    "replication=1&replication=2",
    "replicas=3",
  ]) {
    const response = await put(`/files/f?${query}`);
    expect([query, response.status, (await problemOf(response)).code]).toEqual([query, 400, "INVALID_PARAMETER"]);
  }
  expect(await gateway.paths()).toEqual([]);
  const stored = await put("/files/f?replication=2&chunkSize=131072");
  expect(await stored.json()).toMatchObject({ replication: 2 });
});

test("the same idempotency key has one effect and one answer", async () => {
  const headers = { "idempotency-key": "k1", "if-none-match": "*" };
  const [first, second] = [await put("/files/f", "x", headers), await put("/files/f", "x", headers)];
  expect([first.status, second.status]).toEqual([201, 201]);
  expect(await second.json()).toEqual(await first.json());
});

test("the same idempotency key for another request is refused, and changes nothing", async () => {
  await put("/files/f", "x", { "idempotency-key": "k2" });
  for (const other of [
    await put("/files/g", "x", { "idempotency-key": "k2" }),
    await put("/files/f", "y", { "idempotency-key": "k2" }),
  ])
    expect([other.status, (await problemOf(other)).code]).toEqual([400, "INVALID_HEADER"]);
  expect(await gateway.paths()).toEqual(["f"]);
  expect(await (await get("/files/f")).text()).toBe("x");
});

test("delete takes files, and directories only when told so", async () => {
  await put("/files/d/one");
  await put("/files/d/two");
  const refused = await gateway.call("DELETE", "/files/d");
  expect([refused.status, (await problemOf(refused)).code]).toEqual([409, "DIRECTORY_NOT_EMPTY"]);
  expect((await gateway.call("DELETE", "/files/d?recursive=maybe")).status).toBe(400);
  expect((await gateway.call("DELETE", "/files/d/one", { headers: { "if-match": '"v9"' } })).status).toBe(412);
  expect(await gateway.paths()).toHaveLength(2);
  expect((await gateway.call("DELETE", "/files/d/one")).status).toBe(204);
  expect((await gateway.call("DELETE", "/files/d?recursive=true")).status).toBe(204);
  const gone = await gateway.call("DELETE", "/files/d");
  expect([gone.status, (await problemOf(gone)).code]).toEqual([404, "NO_SUCH_FILE"]);
});

const post = (path: string, body: unknown, headers: Record<string, string> = {}) =>
  gateway.call("POST", path, {
    body: typeof body === "string" ? body : JSON.stringify(body),
    headers: { "content-type": "application/json", ...headers },
  });

test("rename, copy and mkdir", async () => {
  await put("/files/d/one", "1");
  const renamed = await post("/files/d", { rename: "e f" });
  expect([renamed.status, renamed.headers.get("location")]).toEqual([201, "/files/e%20f"]);
  expect(await renamed.json()).toMatchObject({ path: "e f/", kind: "directory", replaced: false });
  expect((await post("/files/e%20f/one", { copy: "two" })).status).toBe(201);
  expect(await (await get("/files/two")).text()).toBe("1");
  const taken = await post("/files/e%20f/one", { copy: "two" });
  expect([taken.status, (await problemOf(taken)).code]).toEqual([409, "ALREADY_EXISTS"]);
  expect((await post("/files/e%20f/one", { copy: "two", overwrite: true })).status).toBe(200);
  expect((await post("/files/new", { mkdir: true })).status).toBe(201);
  expect((await post("/files/new", { mkdir: true })).status).toBe(200);
});

test("bad orders to move are refused and change nothing", async () => {
  await put("/files/f");
  const bad: [unknown, Record<string, string>, number, string][] = [
    [{}, {}, 400, "INVALID_BODY"],
    [{ rename: "a", copy: "b" }, {}, 400, "INVALID_BODY"],
    [{ rename: 5 }, {}, 400, "INVALID_BODY"],
    [{ move: "a" }, {}, 400, "INVALID_BODY"],
    ["{", {}, 400, "INVALID_BODY"],
    ["", {}, 400, "INVALID_BODY"],
    [{ rename: "../x" }, {}, 400, "INVALID_PATH"],
    [{ copy: "half a character: \ud83d" }, {}, 400, "INVALID_PATH"],
    [{ rename: "f/x" }, {}, 409, "NOT_A_DIRECTORY"],
    [{ rename: "x" }, { "content-type": "text/plain" }, 415, "UNSUPPORTED_MEDIA_TYPE"],
    [{ rename: "x" }, { "if-none-match": "*" }, 400, "INVALID_HEADER"],
    [{ rename: "x" }, { "if-match": '"v9"' }, 412, "PRECONDITION_FAILED"],
    [{ rename: "x".repeat(300_000) }, {}, 413, "PAYLOAD_TOO_LARGE"],
  ];
  for (const [body, headers, status, code] of bad) {
    const response = await post("/files/f", body, headers);
    expect([body, response.status, (await problemOf(response)).code]).toEqual([body, status, code]);
  }
  await put("/files/d/one");
  const below = await post("/files/d", { rename: "d/x" });
  expect([below.status, (await problemOf(below)).code]).toEqual([409, "RENAME_INTO_ITSELF"]);
  expect(await gateway.paths()).toEqual(["d/one", "f"]);
});

test("listing pages through names, rolls up directories, and its cursor fits its prefix only", async () => {
  for (const name of ["a/1", "a/2", "b", "c/x/y", "d"]) await put(`/files/${name}`);
  const page = async (query: string) =>
    (await (await get(`/files?${query}`)).json()) as {
      entries: { path: string; kind: string }[];
      cursor: string | null;
    };
  const names: string[] = [];
  let cursor: string | null = "";
  while (cursor !== null) {
    const answer = await page(`limit=2${cursor ? `&cursor=${cursor}` : ""}`);
    names.push(...answer.entries.map(({ path }) => path));
    cursor = answer.cursor;
  }
  expect(names).toEqual(["a/1", "a/2", "b", "c/x/y", "d"]);
  const top = await page("delimiter=%2F");
  expect(top.entries.map(({ path, kind }) => `${kind} ${path}`)).toEqual([
    "directory a/",
    "file b",
    "directory c/",
    "file d",
  ]);
  const { cursor: after } = await page("limit=1&prefix=a/");
  for (const query of [
    "limit=0",
    "limit=1001",
    "limit=x",
    "delimiter=.",
    "cursor=!!",
    "cursor=",
    `cursor=${after}&prefix=b`,
    "order=up",
  ]) {
    const response = await get(`/files?${query}`);
    expect([query, response.status, (await problemOf(response)).code]).toEqual([query, 400, "INVALID_PARAMETER"]);
  }
});

test("68c. a page tells the index that it reflects, and the next page asks for no earlier one", async () => {
  for (const name of ["a", "b", "c"]) await put(`/files/${name}`);
  const asked = spyOn(gateway.data.namespace, "list");
  const first = (await (await get("/files?limit=2")).json()) as { index: number; cursor: string };
  await get(`/files?limit=2&cursor=${first.cursor}`);
  expect(asked.mock.calls.map(([{ after, minIndex }]) => [after, minIndex])).toEqual([
    ["", undefined],
    ["b", first.index],
  ]);
  asked.mockRestore();
});

test("a directory is no file", async () => {
  await put("/files/d/f");
  for (const response of [await get("/files/d"), await put("/files/d")]) {
    expect(response.status).toBe(409);
    expect((await problemOf(response)).code).toBe("IS_A_DIRECTORY");
  }
  const below = await put("/files/d/f/g");
  expect([below.status, (await problemOf(below)).code]).toEqual([409, "NOT_A_DIRECTORY"]);
});

test("F11. If-None-Match: * holds back a delete of what is there, and finds nothing to delete elsewhere", async () => {
  await gateway.call("PUT", "/files/d/one", { body: "x" });
  const headers = { "if-none-match": "*" };
  for (const [path, status] of [
    ["/files/d/one", 412],
    ["/files/d?recursive=true", 412],
    ["/files/none", 404],
  ] as const)
    expect([path, (await gateway.call("DELETE", path, { headers })).status]).toEqual([path, status]);
  for (const tag of ['""', 'W/"v1"'])
    expect((await gateway.call("DELETE", "/files/d?recursive=true", { headers: { "if-match": tag } })).status).toBe(
      412,
    );
  expect(await gateway.paths()).toEqual(["d/one"]);
});

test("F11. forms, new directories and open uploads refuse a condition, and change nothing", async () => {
  const upload = await gateway.data.transfers.openUpload({ path: "u" });
  const json = { "content-type": "application/json" };
  const form = new FormData();
  form.append("f", new File(["x"], "f"));
  const requests: [string, string, RequestInit][] = [
    ["POST", "/files", { body: form }],
    ["POST", "/files/d", { body: '{"mkdir": true}', headers: json }],
    ["PATCH", `/uploads/${upload.uploadId}`, { body: "x", headers: { "upload-offset": "0" } }],
    ["POST", `/uploads/${upload.uploadId}`, { body: '{"size": 0}', headers: json }],
    ["DELETE", `/uploads/${upload.uploadId}`, {}],
  ];
  for (const [method, path, init] of requests) {
    const headers = { ...(init.headers as Record<string, string>), "if-match": '"v1"' };
    const response = await gateway.call(method, path, { ...init, headers });
    expect([method, path, response.status, (await problemOf(response)).code]).toEqual([
      ...[method, path],
      ...[400, "INVALID_HEADER"],
    ]);
  }
  expect((await gateway.data.transfers.uploadStatus(upload.uploadId)).offset).toBe(0);
  expect([await gateway.paths(), await gateway.data.namespace.stat("d")]).toEqual([[], null]);
});

test("F8. a number beyond what a number holds is refused by name wherever one is read, and changes nothing", async () => {
  const upload = await gateway.data.transfers.openUpload({ path: "u" });
  const huge = ["9007199254740993", "9223372036854775808", "1e3", "0x10", "-1", "9".repeat(300)];
  for (const n of huge)
    for (const [method, path, headers] of [
      ["GET", `/files?limit=${n}`, {}],
      ["PUT", `/files/f?chunkSize=${n}`, {}],
      ["PUT", `/files/f?replication=${n}`, {}],
      ["PUT", "/files/f", { "content-length": n }],
      ["PATCH", `/uploads/${upload.uploadId}`, { "upload-offset": n }],
      ["GET", `/files/f?explain&fromIndex=${n}`, {}],
    ] as const) {
      const response = await gateway.call(method, path, { headers, ...(method === "GET" ? {} : { body: "x" }) });
      expect([method, path, response.status]).toEqual([method, path, 400]);
    }
  for (const n of huge) expect((await gateway.call("GET", `/uploads/${n}`)).status).toBe(404);
  expect(await gateway.paths()).toEqual([]);
});
