/** tus 1.0 at /uploads: what the protocol demands, case by case, and a client of others that speaks it. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { Upload, type UploadOptions } from "tus-js-client";
import { readBack, sampleBytes } from "../support/bodies.ts";
import { until } from "../support/fair-time.ts";
import { freePorts } from "../support/free-ports.ts";
import { CHUNK, GatewayCluster } from "../support/gateway-cluster.ts";
import { problemOf, restGatewayOver } from "../support/rest-gateway.ts";

let cluster: GatewayCluster;
let rest: ReturnType<typeof restGatewayOver>;
beforeAll(async () => {
  cluster = await new GatewayCluster().up();
  rest = restGatewayOver(cluster.data);
});
afterAll(() => cluster.stop());

const base64 = (text: string) => Buffer.from(text).toString("base64");
const metadataOf = (pairs: Record<string, string>) =>
  Object.entries(pairs)
    .map(([name, value]) => `${name} ${base64(value)}`.trim())
    .join(",");
type Body = Uint8Array<ArrayBuffer> | string;
const tus = (method: string, url: string, headers: Record<string, string> = {}, body?: Body) =>
  rest.call(method, url, { headers: { "tus-resumable": "1.0.0", ...headers }, body });
const patch = (url: string, offset: number, body: Body, headers: Record<string, string> = {}) =>
  tus(
    "PATCH",
    url,
    { "content-type": "application/offset+octet-stream", "upload-offset": String(offset), ...headers },
    body,
  );
async function create(path: string, length: number): Promise<string> {
  const headers = { "upload-length": String(length), "upload-metadata": metadataOf({ filename: path }) };
  return (await tus("POST", "/uploads", headers)).headers.get("location") as string;
}
const offsetOf = async (url: string) => Number((await tus("HEAD", url)).headers.get("upload-offset"));
const textOf = async (path: string) => Buffer.from(await readBack(cluster.data, path)).toString();

test("F5. OPTIONS says what is spoken of tus, and another version is 412 and changes nothing", async () => {
  for (const url of ["/uploads", "/uploads/1-10"]) {
    const answer = await rest.call("OPTIONS", url);
    expect([answer.status, answer.headers.toJSON()]).toMatchObject([
      204,
      {
        "tus-resumable": "1.0.0",
        "tus-version": "1.0.0",
        "tus-extension": "creation,creation-with-upload,termination,checksum,expiration",
        "tus-max-size": "9007199254740991",
        "tus-checksum-algorithm": "sha1,sha256,sha512,md5,crc32",
      },
    ]);
  }
  const url = await create("version", 3);
  for (const [method, target] of [
    ["POST", "/uploads"],
    ["HEAD", url],
    ["PATCH", url],
    ["DELETE", url],
  ] as const) {
    const answer = await tus(method, target, { "tus-resumable": "0.2.2", "upload-offset": "0" });
    expect([method, answer.status, answer.headers.get("tus-version")]).toEqual([method, 412, "1.0.0"]);
  }
  expect(await offsetOf(url)).toBe(0);
});

test("F5. in tus a file is there when its last byte is, and a client that did not hear so is told again", async () => {
  const created = await tus("POST", "/uploads", {
    "upload-length": "11",
    "upload-metadata": metadataOf({
      filename: "dir/ü.txt",
      filetype: "text/plain",
      "Cache-Control": "no-cache",
      contentLanguage: "de",
      Author: "Zoë",
      is_confidential: "",
    }),
  });
  const url = created.headers.get("location") as string;
  expect([created.status, created.headers.get("tus-resumable"), await created.text()]).toEqual([201, "1.0.0", ""]);
  expect(Date.parse(created.headers.get("upload-expires") as string)).toBeGreaterThan(0);
  const first = await patch(url, 0, "hello ");
  expect([first.status, first.headers.get("upload-offset")]).toEqual([204, "6"]);
  const head = await tus("HEAD", url);
  expect([head.status, head.headers.toJSON()]).toMatchObject([
    200,
    { "upload-offset": "6", "upload-length": "11", "cache-control": "no-store", "tus-resumable": "1.0.0" },
  ]);
  expect(head.headers.get("upload-metadata")).toBe(
    metadataOf({
      filename: "dir/ü.txt",
      filetype: "text/plain",
      cacheControl: "no-cache",
      contentLanguage: "de",
      author: "Zoë",
      is_confidential: "",
    }),
  );
  expect(await cluster.data.namespace.stat("dir/ü.txt")).toBeNull();
  const last = await patch(url, 6, "world");
  expect([last.status, last.headers.get("upload-offset")]).toEqual([204, "11"]);
  expect(await textOf("dir/ü.txt")).toBe("hello world");
  expect(await cluster.data.namespace.stat("dir/ü.txt")).toMatchObject({
    contentType: "text/plain",
    userMetadata: { author: "Zoë", is_confidential: "", "Cache-Control": "no-cache", "Content-Language": "de" },
  });
  for (const again of [await tus("HEAD", url), await tus("HEAD", url)])
    expect([again.status, again.headers.get("upload-offset"), again.headers.get("upload-length")]).toEqual([
      ...[200, "11", "11"],
    ]);
});

test("F5. what was cut off between the last byte and the file is done by the next request", async () => {
  for (const [path, next] of [
    ["next is HEAD", (url: string) => tus("HEAD", url)],
    ["next is PATCH", (url: string) => patch(url, 3, "")],
  ] as const) {
    const url = await create(path, 3);
    await cluster.data.transfers.appendUpload(
      Number(/\d+/.exec(url)?.[0]),
      0,
      new Response("abc").body as ReadableStream<Uint8Array>,
    );
    expect(await cluster.data.namespace.stat(path)).toBeNull();
    expect((await next(url)).headers.get("upload-offset")).toBe("3");
    expect(await textOf(path)).toBe("abc");
  }
});

test("F5. tus creates with the first bytes, with all of them, and empty", async () => {
  for (const [length, body, status] of [
    [5, "abc", null],
    [3, "abc", "there"],
    [0, "", "there"],
  ] as const) {
    const path = `created with ${length}`;
    const headers = {
      "upload-length": String(length),
      "upload-metadata": metadataOf({ path, filename: "other" }),
      ...(body === "" ? {} : { "content-type": "application/offset+octet-stream" }),
    };
    const created = await tus("POST", "/uploads", headers, body);
    expect([created.status, created.headers.get("upload-offset")]).toEqual([201, String(body.length)]);
    const entry = await cluster.data.namespace.stat(path);
    expect(entry === null ? null : "there").toBe(status);
    if (entry) expect([await textOf(path), entry]).toMatchObject([body, { userMetadata: { filename: "other" } }]);
  }
});

test("F5. a body with another checksum is 460 and not kept, in one chunk or in several; with the right one it is", async () => {
  const bytes = sampleBytes(3 * CHUNK + 5);
  const url = await create("checked", bytes.length);
  const sums: [string, (bytes: Uint8Array) => string][] = [
    ["crc32", (bytes) => Buffer.from(Bun.hash.crc32(bytes).toString(16).padStart(8, "0"), "hex").toString("base64")],
    ...(["sha1", "sha256", "sha512", "md5"] as const).map((name): [string, (bytes: Uint8Array) => string] => [
      name,
      (bytes) => new Bun.CryptoHasher(name).update(bytes).digest("base64"),
    ]),
  ];
  let offset = 0;
  for (const [n, [name, sumOf]] of sums.entries()) {
    const end = n === sums.length - 1 ? bytes.length : offset + 10;
    const part = bytes.slice(offset, end);
    const wrong = await patch(url, offset, part, { "upload-checksum": `${name} ${sumOf(bytes)}` });
    expect([name, wrong.status, (await problemOf(wrong)).code]).toEqual([name, 460, "UPLOAD_CHECKSUM_MISMATCH"]);
    expect([wrong.headers.get("tus-resumable"), await offsetOf(url)]).toEqual(["1.0.0", offset]);
    const right = await patch(url, offset, part, { "upload-checksum": `${name} ${sumOf(part)}` });
    expect([name, right.status, right.headers.get("upload-offset")]).toEqual([name, 204, String(end)]);
    offset = end;
  }
  expect(await readBack(cluster.data, "checked")).toEqual(bytes);
  const refused = await tus(
    "POST",
    "/uploads",
    {
      "upload-length": "3",
      "upload-metadata": metadataOf({ filename: "never" }),
      "content-type": "application/offset+octet-stream",
      "upload-checksum": `sha1 ${sums[1]?.[1](bytes)}`,
    },
    "abc",
  );
  expect([refused.status, await cluster.data.namespace.stat("never")]).toEqual([460, null]);
});

test("F5. orders that make no sense in tus are refused, and no file and no byte comes of them", async () => {
  const filename = metadataOf({ filename: "bad" });
  const created: [Record<string, string>, number, string][] = [
    [{ "upload-metadata": filename }, 400, "INVALID_HEADER"],
    [{ "upload-metadata": filename, "upload-defer-length": "1" }, 400, "INVALID_HEADER"],
    [{ "upload-metadata": filename, "upload-length": "-1" }, 400, "INVALID_HEADER"],
    [{ "upload-metadata": filename, "upload-length": "9007199254740993" }, 413, "PAYLOAD_TOO_LARGE"],
    [{ "upload-length": "1" }, 400, "INVALID_HEADER"],
    [{ "upload-length": "1", "upload-metadata": "filename ***" }, 400, "INVALID_HEADER"],
    [{ "upload-length": "1", "upload-metadata": "filename /w==" }, 400, "INVALID_HEADER"],
    [{ "upload-length": "1", "upload-metadata": `${filename},FILENAME eA==` }, 400, "INVALID_HEADER"],
    [{ "upload-length": "1", "upload-metadata": metadataOf({ filename: "a/../b" }) }, 400, "INVALID_PATH"],
    [{ "upload-length": "1", "upload-metadata": metadataOf({ filename: "bad", a: "\n" }) }, 400, "INVALID_HEADER"],
    [
      { "upload-length": "1", "upload-metadata": metadataOf({ filename: "bad", a: "x".repeat(3000) }) },
      ...([431, "METADATA_TOO_LARGE"] as const),
    ],
  ];
  for (const [headers, status, code] of created) {
    const answer = await tus("POST", "/uploads", headers);
    expect([headers, answer.status, (await problemOf(answer)).code]).toEqual([headers, status, code]);
    expect(answer.headers.get("tus-resumable")).toBe("1.0.0");
  }
  const url = await create("bad", 5);
  const appended: [Promise<Response>, number, string][] = [
    [patch(url, 1, "x"), 409, "UPLOAD_OFFSET_MISMATCH"],
    [patch(url, 0, "x", { "content-type": "text/plain" }), 415, "UNSUPPORTED_MEDIA_TYPE"],
    [patch(url, 0, "x", { "content-length": "6" }), 413, "PAYLOAD_TOO_LARGE"],
    [patch(url, 0, "abcdef"), 400, "INVALID_BODY"],
    [patch(url, 0, "x", { "upload-checksum": "sha3 AAAA" }), 400, "INVALID_HEADER"],
    [patch(url, 0, "x", { "upload-checksum": "sha1 AAAA" }), 400, "INVALID_HEADER"],
    [patch("/uploads/999999-5", 0, "x"), 404, "NO_SUCH_UPLOAD"],
    [tus("GET", "/uploads/999999-5"), 404, "NO_SUCH_UPLOAD"],
  ];
  for (const [n, [answer, status, code]] of appended.entries())
    expect([n, (await answer).status, (await problemOf(await answer)).code]).toEqual([n, status, code]);
  expect([await offsetOf(url), await cluster.data.namespace.stat("bad")]).toEqual([0, null]);
});

test("F5. tus ends an upload by DELETE, or by a POST that means it", async () => {
  for (const end of [
    (url: string) => tus("DELETE", url),
    (url: string) => tus("POST", url, { "x-http-method-override": "DELETE" }),
  ]) {
    const url = await create("ended", 5);
    const meant = { "x-http-method-override": "PATCH", "content-type": "application/offset+octet-stream" };
    expect((await tus("POST", url, { ...meant, "upload-offset": "0" }, "abc")).status).toBe(204);
    expect([await offsetOf(url), (await end(url)).status, (await tus("HEAD", url)).status]).toEqual([3, 204, 404]);
  }
});

test("F5. tus-js-client uploads in pieces, stops in the middle, and another goes on from the stored URL through another gateway", async () => {
  const bytes = sampleBytes(3_000_000);
  const [port = 0] = freePorts(1);
  const endpoint = `${rest.listen(port)}/uploads`;
  const run = (options: UploadOptions, isEnough = (_: Upload, _sent: number) => false) => {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const upload: Upload = new Upload(Buffer.from(bytes), {
      endpoint,
      retryDelays: [0, 20, 50, 100, 200],
      metadata: { filename: "by tus-js-client", filetype: "image/png" },
      onError: reject,
      onSuccess: () => resolve("whole"),
      onChunkComplete: (_size, sent) => {
        if (isEnough(upload, sent)) void upload.abort().then(() => resolve("stopped"));
      },
      ...options,
    });
    upload.start();
    return { upload, outcome: promise };
  };
  const first = run({ chunkSize: 400_000 }, (_, sent) => sent >= 1_200_000);
  expect(await first.outcome).toBe("stopped");
  const stored = first.upload.url as string;
  rest.stop();
  const second = cluster.openGateway("gateway-2");
  const restarted = restGatewayOver(second);
  try {
    // The client is there before the gateway is, and tries again until it is.
    const { outcome } = run({ uploadUrl: stored, chunkSize: 700_000, retryDelays: Array(200).fill(50) });
    restarted.listen(port);
    expect(await outcome).toBe("whole");
    expect(await readBack(second, "by tus-js-client")).toEqual(bytes);
    expect(await second.namespace.stat("by tus-js-client")).toMatchObject({ contentType: "image/png" });
    expect(await run({ uploadUrl: stored }).outcome).toBe("whole");
    const inOne = { uploadDataDuringCreation: true, metadata: { filename: "in one" } };
    expect(await run(inOne).outcome).toBe("whole");
    expect(await readBack(second, "in one")).toEqual(bytes);
  } finally {
    restarted.stop();
    await second.close();
  }
  await until("no chunk is left open", () => cluster.openChunks() === 0);
});
