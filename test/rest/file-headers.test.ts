/** What a client says about a file comes back as it was said, over real commands, messages and SQLite. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { resolve } from "node:path";
import { createClient } from "../../gateway/client/client.ts";
import { freePorts } from "../support/free-ports.ts";
import { GatewayCluster } from "../support/gateway-cluster.ts";
import { pick, SEED, seeded } from "../support/random.ts";
import { rawRequest } from "../support/raw-request.ts";
import { problemOf, restGatewayOver } from "../support/rest-gateway.ts";

const DFS = resolve(import.meta.dir, "../../gateway/cli/dfs.ts");
let cluster: GatewayCluster;
let url: string;
let stopGateway: () => unknown;
beforeAll(async () => {
  cluster = await new GatewayCluster({ workers: 3 }).up();
  const gateway = restGatewayOver(cluster.data);
  url = gateway.listen(freePorts(1)[0] as number);
  stopGateway = gateway.stop;
});
afterAll(async () => {
  await stopGateway();
  await cluster.stop();
});

/** Bytes as they came: no file is unpacked on its way to the test. */
const call = (method: string, path: string, init: RequestInit = {}): Promise<Response> =>
  fetch(`${url}${path}`, { method, ...init, decompress: false } as RequestInit);
const json = (method: string, path: string, body: unknown) =>
  call(method, path, { body: JSON.stringify(body), headers: { "content-type": "application/json" } });
const wire = (text: string): string => Buffer.from(text).toString("latin1");
const text = (value: string | null): string | null => (value === null ? null : Buffer.from(value, "latin1").toString());
const metaOf = (headers: Headers): Map<string, string> =>
  new Map(
    [...headers].flatMap(([name, value]) => (name.startsWith("x-meta-") ? [[name.slice(7), text(value) ?? ""]] : [])),
  );

const SAID = {
  "Cache-Control": "public, max-age=31536000, immutable",
  "Content-Disposition": 'inline; filename="ünï.txt"',
  "Content-Encoding": "gzip",
  "Content-Language": "de, en",
  Expires: "Thu, 01 Dec 2033 16:00:00 GMT",
};
const SAID_IN_JSON = {
  cacheControl: SAID["Cache-Control"],
  contentDisposition: SAID["Content-Disposition"],
  contentEncoding: SAID["Content-Encoding"],
  contentLanguage: SAID["Content-Language"],
  expires: SAID.Expires,
};
const onTheWire = Object.fromEntries(Object.entries(SAID).map(([name, value]) => [name, wire(value)]));
const saidBy = ({ headers }: Response) =>
  Object.fromEntries(Object.keys(SAID).flatMap((name) => (headers.has(name) ? [[name, text(headers.get(name))]] : [])));

test("F6. what is said of the content at PUT comes back with GET, HEAD, a range and 304, through copy and rename", async () => {
  const packed = Bun.gzipSync("hello, hello, hello");
  const stored = await call("PUT", "/files/f6/a", {
    body: packed,
    headers: { ...onTheWire, "content-type": "text/x" },
  });
  expect([stored.status, saidBy(stored)]).toEqual([201, {}]);
  const { etag, ...told } = (await stored.json()) as { etag: string };
  expect(told).toMatchObject({ ...SAID_IN_JSON, contentType: "text/x", meta: {} });
  await json("POST", "/files/f6/a", { copy: "f6/b" });
  await json("POST", "/files/f6/b", { rename: "f6/c" });
  for (const name of ["a", "c"]) {
    const read = await call("GET", `/files/f6/${name}`);
    expect([read.status, saidBy(read), read.headers.get("content-type")]).toEqual([200, SAID, "text/x"]);
    expect(await read.bytes()).toEqual(packed);
    expect(saidBy(await call("HEAD", `/files/f6/${name}`))).toEqual(SAID);
    const range = await call("GET", `/files/f6/${name}`, { headers: { range: "bytes=0-3" } });
    expect([range.status, saidBy(range)]).toEqual([206, SAID]);
  }
  const unchanged = await call("GET", "/files/f6/a", { headers: { "if-none-match": etag } });
  expect([unchanged.status, saidBy(unchanged)]).toEqual([304, SAID]);
});

test("F6. of several ranges each part says how its bytes are encoded; the answer itself is not", async () => {
  await call("PUT", "/files/f6/parts", { body: "0123456789", headers: onTheWire });
  const several = await call("GET", "/files/f6/parts", { headers: { range: "bytes=0-1,8-9" } });
  expect(saidBy(several)).toMatchObject({ Expires: SAID.Expires });
  expect([several.headers.get("content-encoding"), several.headers.get("content-language")]).toEqual([null, null]);
  const body = await several.text();
  expect(Number(several.headers.get("content-length"))).toBe(body.length);
  expect(body.match(/Content-Encoding: gzip\r\nContent-Language: de, en\r\nContent-Range: bytes/g)).toHaveLength(2);
});

test("F6. ?download goes before the stored disposition, and a stored page stays in its sandbox", async () => {
  const headers = { "content-type": "text/html", "content-disposition": "inline", "cache-control": "public" };
  const { etag } = (await (await call("PUT", "/files/f6/page.html", { body: "<p>", headers })).json()) as {
    etag: string;
  };
  const shown = await call("GET", "/files/f6/page.html");
  expect(shown.headers.get("content-disposition")).toBe("inline");
  for (const init of [{}, { headers: { "if-none-match": etag } }]) {
    const saved = await call("GET", "/files/f6/page.html?download", init);
    expect(saved.headers.get("content-disposition")).toStartWith('attachment; filename="page.html"');
  }
  for (const { headers } of [shown, await call("HEAD", "/files/f6/page.html")])
    expect([headers.get("content-security-policy"), headers.get("x-content-type-options")]).toEqual([
      "sandbox",
      "nosniff",
    ]);
  await call("PUT", "/files/f6/plain", { body: "x" });
  expect((await call("GET", "/files/f6/plain")).headers.get("cache-control")).toBe("no-cache");
  await call("PUT", "/files/f6/old", { body: "x", headers: { expires: "0" } });
  expect((await call("GET", "/files/f6/old")).headers.get("cache-control")).toBeNull();
});

test("F6. the client library sends what was said, and reads packed bytes as they were stored; dfs stat shows it", async () => {
  const dfs = createClient({ url, retries: 0 });
  const packed = Bun.gzipSync("hello, hello, hello") as Uint8Array<ArrayBuffer>;
  const meta = Object.fromEntries([["__proto__", "größe"]]);
  const put = await dfs.put("client/put", packed, { ...SAID_IN_JSON, meta });
  const resumed = await dfs.putResumable("client/resumed", new Blob([packed]), { ...SAID_IN_JSON, meta });
  for (const file of [put, resumed, await dfs.head("client/put"), await dfs.head("client/resumed")]) {
    expect(file).toMatchObject(SAID_IN_JSON);
    expect(Object.entries(file.meta)).toEqual([["__proto__", "größe"]]);
  }
  const { body, file } = await dfs.get("client/put");
  expect([await new Response(body).bytes(), file.contentEncoding]).toEqual([packed, "gzip"]);
  await dfs.put("client/plain", "x");
  expect((await dfs.head("client/plain")).cacheControl).toBeUndefined();
  const poisoned = dfs.put("client/no", "x", { meta: { a: "b\r\nX: y" } });
  expect(await poisoned.catch((error) => error.code)).toBe("INVALID_HEADER");
  const child = Bun.spawn([process.execPath, DFS, "stat", "client/put", "--url", url], { stdout: "pipe" });
  const shown = await new Response(child.stdout).text();
  for (const [name, value] of Object.entries(SAID)) expect(shown).toContain(`  ${name}: ${value}\n`);
  expect(shown).toContain("  __proto__: größe");
});

/** A form as it looks on the wire: `[name, value]` is a field, `[name, filename, head, content]` a file. */
const form = (parts: ([string, string] | [string, string, string, string])[]) =>
  call("POST", "/files", {
    headers: { "content-type": "multipart/form-data; boundary=B" },
    body: `${parts
      .map(([name, value, head, content]) =>
        content === undefined
          ? `--B\r\nContent-Disposition: form-data; name="${name}"\r\n\r\n${value}\r\n`
          : `--B\r\nContent-Disposition: form-data; name="${name}"; filename="${value}"\r\n${head}\r\n${content}\r\n`,
      )
      .join("")}--B--\r\n`,
  });

async function upload(order: object, content = "x"): Promise<Response> {
  const opened = await json("POST", "/uploads", order);
  if (opened.status !== 201) return opened;
  const at = opened.headers.get("location") as string;
  await call("PATCH", at, { body: content, headers: { "upload-offset": "0" } });
  return json("POST", at, { size: content.length });
}

test("F6. a form says it in fields before its files, an upload in the JSON that opens it", async () => {
  const fields = Object.entries(SAID).map(([name, value]): [string, string] => [name, value]);
  const posted = await form([
    ["path", "f6/before"],
    ["f", "n", "", "0"],
    ...fields,
    ["X-Meta-Owner", "größe"],
    ["path", "f6/form-1"],
    ["f", "n", "Content-Type: text/x\r\n", "1"],
    ["path", "f6/form-2"],
    ["f", "n", "", "2"],
  ]);
  expect(posted.status).toBe(201);
  await upload({ path: "f6/upload", ...SAID_IN_JSON, meta: { owner: "größe" } });
  expect(saidBy(await call("HEAD", "/files/f6/before"))).toEqual({ "Cache-Control": "no-cache" });
  for (const name of ["form-1", "form-2", "upload"]) {
    const head = await call("HEAD", `/files/f6/${name}`);
    expect([name, saidBy(head), [...metaOf(head.headers)]]).toEqual([name, SAID, [["owner", "größe"]]]);
  }
});

test("F9. metadata keeps its name, also if objects have one of that name by themselves", async () => {
  const names = ["__proto__", "constructor", "tostring", "hasownproperty", "__proto_", "valueof"];
  const meta = Object.fromEntries(names.map((name) => [name, `of ${name}`]));
  const sent = Object.fromEntries(names.map((name) => [`x-meta-${name}`, `of ${name}`]));
  const put = await call("PUT", "/files/f9/put", { body: "x", headers: sent });
  const uploaded = await upload({ path: "f9/upload", meta });
  const posted = await form([...Object.entries(sent), ["path", "f9/form"], ["f", "n", "", "x"]]);
  expect([put.status, uploaded.status, posted.status]).toEqual([201, 201, 201]);
  const told = [await put.json(), await uploaded.json(), ((await posted.json()) as { files: unknown[] }).files[0]];
  for (const file of told as { meta: object }[])
    expect(new Map(Object.entries(file.meta))).toEqual(new Map(Object.entries(meta)));
  await json("POST", "/files/f9/put", { copy: "f9/copy" });
  for (const name of ["put", "upload", "form", "copy"])
    expect(metaOf((await call("HEAD", `/files/f9/${name}`)).headers)).toEqual(new Map(Object.entries(meta)));
});

test("F9. a parameter or a member called __proto__ is refused as any that is not known", async () => {
  for (const query of ["__proto__=1", "constructor=1", "toString=1"]) {
    const refused = await call("GET", `/files/f9/put?${query}`);
    expect([query, refused.status, (await problemOf(refused)).code]).toEqual([query, 400, "INVALID_PARAMETER"]);
  }
  for (const body of [
    '{"path": "f9/no", "__proto__": {"a": 1}}',
    '{"path": "f9/no", "constructor": 1}',
    '{"__proto__": {"path": "f9/no"}}',
  ]) {
    const refused = await call("POST", "/uploads", { body, headers: { "content-type": "application/json" } });
    expect([body, refused.status, (await problemOf(refused)).code]).toEqual([body, 400, "INVALID_BODY"]);
  }
});

test("F12. a header's value goes out with the bytes that it came in with; what is not UTF-8 is refused", async () => {
  const values = ["caf\u00c3\u00a9", "\u00ef\u00bb\u00bfmark first", "a\tb", ""];
  for (const value of values) {
    await call("PUT", "/files/f12/bytes", { body: "x", headers: { "x-meta-a": value } });
    expect((await call("GET", "/files/f12/bytes")).headers.get("x-meta-a")).toBe(value);
  }
  for (const name of ["x-meta-a", "Content-Disposition"]) {
    const refused = await call("PUT", "/files/f12/latin", { body: "x", headers: { [name]: "caf\u00e9" } });
    expect([refused.status, (await problemOf(refused)).detail]).toEqual([
      400,
      expect.stringMatching(/^The value of .* is not UTF-8$/),
    ]);
  }
  expect((await call("HEAD", "/files/f12/latin")).status).toBe(404);
});

test("F12. a form's file has the name that it had before the browser escaped it", async () => {
  const stored = await form([["f", "say %22hi%22%0D%0A100%25 %2F.txt", "", "x"]]);
  const { files } = (await stored.json()) as { files: { path: string }[] };
  expect(files[0]?.path).toBe('say "hi"\r\n100%25 %2F.txt');
  const blob = new FormData();
  blob.append("file", new File(["x"], 'a"b.txt'));
  const byBrowser = await call("POST", "/files", { body: blob });
  expect(await byBrowser.json()).toMatchObject({ files: [{ path: 'a"b.txt' }] });
});

test("F12. a file or directory renamed onto itself stays as it is, under the conditions of the request", async () => {
  const stored = await call("PUT", "/files/f12/d/f", { body: "x" });
  const { etag } = (await stored.json()) as { etag: string };
  const rename = (path: string, headers: Record<string, string> = {}) =>
    call("POST", `/files/${path}`, {
      body: JSON.stringify({ rename: path }),
      headers: { "content-type": "application/json", ...headers },
    });
  const conditions: Record<string, string>[] = [{}, { "if-match": etag }, { "if-match": "*" }];
  for (const headers of conditions) {
    const same = await rename("f12/d/f", headers);
    expect([same.status, await same.json()]).toMatchObject([200, { path: "f12/d/f", etag, replaced: false }]);
  }
  expect((await rename("f12/d")).status).toBe(200);
  expect((await rename("f12/d/f", { "if-match": '"other"' })).status).toBe(412);
  expect((await rename("f12/none")).status).toBe(404);
  for (const path of ["f12/d/f", "f12/d"])
    for (const overwrite of [false, true]) {
      const copied = await json("POST", `/files/${path}`, { copy: path, overwrite });
      expect([copied.status, (await problemOf(copied)).code]).toEqual([409, "ALREADY_EXISTS"]);
    }
  expect((await call("HEAD", "/files/f12/d/f")).headers.get("etag")).toBe(etag);
});

const POISON = ["b\r\nX: y", "a\0b", "\u0001", "del\u007f", " edge", "edge ", "\ud800", "\tedge"];

test("S7. what cannot travel in a header is refused at every entrance, and nothing is stored", async () => {
  const answers: [Promise<Response>, string][] = [];
  for (const value of POISON) {
    answers.push([upload({ path: "s7/no", meta: { a: value } }), "INVALID_HEADER"]);
    answers.push([upload({ path: "s7/no", contentEncoding: value }), "INVALID_HEADER"]);
    answers.push([upload({ path: "s7/no", contentType: `${value}/${value}` }), "INVALID_HEADER"]);
    if (!value.isWellFormed()) continue;
    answers.push([
      form([
        ["x-meta-a", value],
        ["path", "s7/no"],
        ["f", "n", "", "x"],
      ]),
      "INVALID_HEADER",
    ]);
    answers.push([
      form([
        ["Expires", value],
        ["path", "s7/no"],
        ["f", "n", "", "x"],
      ]),
      "INVALID_HEADER",
    ]);
  }
  for (const name of ["A", "with space", "a:b", "ü", "a\r\nb", "", "n".repeat(129)]) {
    answers.push([upload({ path: "s7/no", meta: { [name]: "x" } }), "INVALID_HEADER"]);
    answers.push([
      form([
        [`x-meta-${name.replace("\r\n", "\u0001")}`, "x"],
        ["path", "s7/no"],
        ["f", "n", "", "x"],
      ]),
      name === "A" ? "fine" : "INVALID_HEADER",
    ]);
  }
  answers.push([
    form([
      ["path", "s7/no"],
      ["f", "n", "Content-Type: text/pl\u00e9in\u0001\r\n", "x"],
    ]),
    "INVALID_HEADER",
  ]);
  for (const [answer, code] of answers) {
    const response = await answer;
    if (code !== "fine") expect([response.status, (await problemOf(response)).code]).toEqual([400, code]);
  }
  const { text } = await rawRequest(
    url,
    `PUT /files/s7/no HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nx-meta-a: d\x7f\r\n\r\nx`,
  );
  expect(text).toStartWith("HTTP/1.1 4");
  await call("DELETE", "/files/s7/no");
  expect((await call("HEAD", "/files/s7/no")).status).toBe(404);
});

test("S7. what was stored before it was checked can be read: what no header can hold goes out percent-encoded", async () => {
  await cluster.propose({
    type: "PUT_FILE",
    path: "s7/old",
    chunks: [],
    sizeBytes: 0,
    crc32: 0,
    replicationFactor: 3,
    minReplicas: 2,
    condition: {},
    sha256: null,
    contentType: "text/pl\u00e9in\u0001",
    userMetadata: {
      a: "b\r\nX: y",
      nul: "a\0",
      "no token\n": "x",
      good: "größe",
      "Content-Encoding": "a\nb",
    },
  });
  for (const method of ["GET", "HEAD"]) {
    const { status, headers } = await call(method, "/files/s7/old");
    expect([status, headers.get("x")]).toEqual([200, null]);
    expect(Object.fromEntries(metaOf(headers))).toEqual({
      a: "b%0D%0AX: y",
      nul: "a%00",
      "no%20token%0a": "x",
      good: "größe",
    });
    expect(text(headers.get("content-type"))).toBe("text/pl\u00e9in%01");
    expect(headers.get("content-encoding")).toBe("a%0Ab");
  }
});

test(`S7. whatever metadata is accepted is read back by GET and HEAD, with 200 and the same values  SEED=${SEED}`, async () => {
  const random = seeded(SEED);
  const below = (n: number) => Math.floor(random() * n);
  const alphabet = [
    "a",
    "B",
    "7",
    " ",
    "\t",
    '"',
    "\\",
    ",",
    ";",
    "=",
    "%",
    "%0A",
    "é",
    "ü",
    "日",
    "😀",
    "\u0085",
    "\u00a0",
    "\ufeff",
    "\u202e",
    "\r",
    "\n",
    "\0",
    "\u001b",
    "\u007f",
    "\ud83d",
    "\udc00",
  ];
  const harmless = alphabet.slice(0, 20);
  const word = (letters: string[], most: number) =>
    Array.from({ length: below(most) }, () => pick(random, letters)).join("");
  const value = () => word(random() < 0.7 ? harmless : alphabet, random() < 0.05 ? 3000 : 12);
  const name = () =>
    pick(random, [
      "a",
      "b-c",
      "__proto__",
      "constructor",
      "x.y",
      "~!#",
      "A",
      "s p",
      "ü",
      "content-encoding",
      word([..."abc-_.:/"], 20),
    ]);
  const said = () => {
    const fields = Object.keys(SAID_IN_JSON).filter(() => random() < 0.2);
    return {
      type: random() < 0.5 ? `text/${value()}` : "text/plain",
      standard: fields.map((field): [string, string] => [field, value()]),
      meta: new Map(Array.from({ length: below(4) }, () => [name(), value()])),
    };
  };
  const HEADER = new Map(Object.keys(SAID_IN_JSON).map((field, n) => [field, Object.keys(SAID)[n] as string]));
  const count = { accepted: 0, refused: 0 };
  for (let round = 0; round < 250; round++) {
    const path = `fuzz/${round}`;
    const { type, standard, meta } = said();
    const entrance = pick(random, ["put", "upload", "form"]);
    const headers: [string, string][] = [
      ...standard.map(([field, value]): [string, string] => [HEADER.get(field) as string, value]),
      ...[...meta].map(([name, value]): [string, string] => [`x-meta-${name}`, value]),
    ];
    let stored: Response;
    if (entrance === "put")
      try {
        const init = new Headers([
          ["content-type", wire(type)],
          ...headers.map(([name, value]): [string, string] => [name, wire(value)]),
        ]);
        stored = await call("PUT", `/files/${path}`, { body: "x", headers: init });
      } catch {
        // `fetch` itself does not send it.
        continue;
      }
    else if (entrance === "upload")
      stored = await upload({
        path,
        contentType: type,
        ...Object.fromEntries(standard),
        meta: Object.fromEntries(meta),
      });
    else stored = await form([...headers, ["path", path], ["f", "n", "", "x"]]);
    if (stored.status !== 201) {
      expect([400, 431]).toContain(stored.status);
      expect((await call("HEAD", `/files/${path}`)).status).toBe(404);
      count.refused++;
      continue;
    }
    count.accepted++;
    // What was sent, not what was meant: HTTP trims a header's value, and half a character is no UTF-8.
    const sent = (value: string) =>
      entrance === "upload"
        ? value
        : entrance === "form"
          ? value.toWellFormed()
          : value.toWellFormed().replace(/^[ \t\r\n]+|[ \t\r\n]+$/g, "");
    const lower = ([name, value]: [string, string]): [string, string] => [
      entrance === "upload" ? name : name.toLowerCase(),
      sent(value),
    ];
    const expectedMeta = new Map<string, string>();
    for (const [name, value] of [...meta].map(lower)) {
      // A header that is sent twice is one list (RFC 9110, 5.3). Of a form's fields the last counts.
      const before = entrance === "put" ? expectedMeta.get(name) : undefined;
      expectedMeta.set(name, before === undefined ? value : sent(`${before}, ${value}`));
    }
    for (const method of ["GET", "HEAD"]) {
      const read = await call(method, `/files/${path}`);
      expect([method, read.status]).toEqual([method, 200]);
      expect([path, new Map([...metaOf(read.headers)].sort())]).toEqual([path, new Map([...expectedMeta].sort())]);
      for (const [field, value] of standard)
        if (sent(value) !== "") expect(text(read.headers.get(HEADER.get(field) as string))).toBe(sent(value));
      if (entrance !== "form") expect(read.headers.get("content-type")).toBe(sent(type));
    }
  }
  expect(count.accepted).toBeGreaterThan(25);
  expect(count.refused).toBeGreaterThan(25);
});
