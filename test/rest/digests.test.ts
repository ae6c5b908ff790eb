/** Digests that a client sends: each is verified, or the request is refused; an answer of success means that they held. */
import { afterAll, beforeEach, expect, test } from "bun:test";
import { problemOf, restGateway } from "../support/rest-gateway.ts";

const gateway = await restGateway();
afterAll(() => gateway.end());
beforeEach(() => gateway.clear());

const CONTENT = "the content of the file";
const base64 = (algorithm: "md5" | "sha1" | "sha256" | "sha512", text = CONTENT) =>
  new Bun.CryptoHasher(algorithm).update(text).digest("base64");
const put = (headers: Record<string, string>) => gateway.call("PUT", "/files/f", { body: CONTENT, headers });

type Digest = [header: string, value: (text?: string) => string];
const VERIFIED: Digest[] = [
  ["Content-MD5", (text) => base64("md5", text)],
  ...(["Content-Digest", "Repr-Digest"].flatMap((header) => [
    [header, (text) => `sha-256=:${base64("sha256", text)}:`],
    [header, (text) => `sha-512=:${base64("sha512", text)}:`],
    [header, (text) => `SHA-512=:${base64("sha512", text)}:;p=1`],
    [header, (text) => `md5=:${base64("md5", text)}:`],
    [header, (text) => `sha=:${base64("sha1", text)}:`],
    [header, (text) => `unixsum=:AAAA:, sha-256=:${base64("sha256")}:,sha-512=:${base64("sha512", text)}:`],
  ]) as Digest[]),
  ["Digest", (text) => `SHA-256=${base64("sha256", text)}`],
  ["Digest", (text) => `MD5=${base64("md5")},SHA-512=${base64("sha512", text)}, UNIXsum=30637`],
  ["x-crc32", (text = CONTENT) => Bun.hash.crc32(text).toString(16).padStart(8, "0")],
];

test("F10. a right digest of a known algorithm is 201, a wrong one DIGEST_MISMATCH, and then nothing is stored", async () => {
  for (const [header, of] of VERIFIED) {
    const wrong = await put({ [header]: of("other") });
    expect([header, of("other"), wrong.status, (await problemOf(wrong)).code]).toEqual([
      header,
      of("other"),
      400,
      "DIGEST_MISMATCH",
    ]);
    expect(await gateway.paths()).toEqual([]);
    const right = await put({ [header]: of() });
    expect([header, of(), right.status]).toEqual([header, of(), 201]);
    await gateway.call("DELETE", "/files/f");
  }
});

test("F10. a digest that cannot be checked is refused with what is known, a malformed or contradictory one as well", async () => {
  const sha256 = `sha-256=:${base64("sha256")}:`;
  const refused: [Record<string, string>, RegExp][] = [
    [{ "repr-digest": "sha-384=:AAAA:" }, /none can be checked. Known: sha-256, sha-512, md5, sha$/],
    [{ "content-digest": "crc32c=:AAAAAA==:, unixsum=:AAA=:" }, /none can be checked/],
    [{ digest: "UNIXsum=30637" }, /none can be checked/],
    [{ "repr-digest": "" }, /is no list of digests/],
    [{ "repr-digest": base64("sha256") }, /is no list of digests/],
    [{ "repr-digest": `${sha256},` }, /is no list of digests/],
    [{ "repr-digest": "sha-256=:AAAA:" }, /is not 32 bytes of sha256/],
    [{ "repr-digest": `sha-256=:${base64("sha256").slice(0, 20)}=${base64("sha256").slice(20)}:` }, /is not 32 bytes/],
    [{ "content-digest": `sha-512=:${base64("sha256")}:` }, /is not 64 bytes of sha512/],
    [{ "content-md5": "" }, /is not 16 bytes of md5/],
    [{ "content-md5": new Bun.CryptoHasher("md5").update(CONTENT).digest("hex") }, /is not 16 bytes of md5/],
    [{ "content-digest": sha256, "repr-digest": `sha-256=:${base64("sha256", "x")}:` }, /two different digests/],
    [{ "content-md5": base64("md5"), digest: `MD5=${base64("md5", "x")}` }, /two different digests/],
    [{ "x-crc32": "1" }, /8 hex digits/],
  ];
  for (const [headers, detail] of refused) {
    const answer = await put(headers);
    expect([headers, answer.status, await problemOf(answer)]).toMatchObject([
      headers,
      400,
      { code: "INVALID_HEADER", detail: expect.stringMatching(detail) },
    ]);
  }
  expect(await gateway.paths()).toEqual([]);
});

test("F10. a wish for a digest is met with SHA-256 if it names it, and never a reason to refuse", async () => {
  const wishes: [string, boolean][] = [
    ["sha-256=1", true],
    ["sha-512=10, sha-256=3", true],
    ["sha-512=10", false],
    ["sha-256=0", false],
    ["sha-256", false],
    ["sha-256=11", false],
    ["", false],
  ];
  for (const [wish, isMet] of wishes) {
    expect([200, 201]).toContain((await put({ "want-repr-digest": wish })).status);
    const { headers } = await gateway.call("GET", "/files/f");
    expect([wish, headers.get("repr-digest")]).toEqual([wish, isMet ? `sha-256=:${base64("sha256")}:` : null]);
  }
});

const form = (fields: [string, string][], headers: Record<string, string> = {}) => {
  const body = new FormData();
  for (const [name, value] of fields) body.append(name, value);
  body.append("file", new File([CONTENT], "f"));
  body.append("file", new File(["another"], "g"));
  return gateway.call("POST", "/files", { body, headers });
};

test("F10. in a form a digest is a field, and that of the next file alone; of the form as a whole none is taken", async () => {
  for (const [header, of] of VERIFIED) {
    const wrong = await form([[header, of("other")]]);
    expect([header, wrong.status, (await problemOf(wrong)).code]).toEqual([header, 400, "DIGEST_MISMATCH"]);
    expect(await gateway.paths()).toEqual([]);
    expect((await form([[header.toLowerCase(), of()]])).status).toBe(201);
    await gateway.clear();
  }
  for (const [header, of] of VERIFIED) {
    const refused = await form([], { [header]: of() });
    expect([header, refused.status, (await problemOf(refused)).code]).toEqual([header, 400, "INVALID_HEADER"]);
  }
  const unknown = await form([["repr-digest", "sha-384=:AAAA:"]]);
  expect([unknown.status, (await problemOf(unknown)).code]).toEqual([400, "INVALID_HEADER"]);
  expect(await gateway.paths()).toEqual([]);
});

test("F10. a digest that comes with JSON is verified, with an append to an upload refused", async () => {
  const order = JSON.stringify({ path: "f" });
  const open = (headers: Record<string, string>) =>
    gateway.call("POST", "/uploads", { body: order, headers: { "content-type": "application/json", ...headers } });
  for (const [header, of] of VERIFIED.filter(([, of]) => !of().includes("unixsum") && !of().includes("UNIXsum"))) {
    const wrong = await open({ [header]: of("other") });
    expect([header, wrong.status, (await problemOf(wrong)).code]).toEqual([header, 400, "DIGEST_MISMATCH"]);
    expect((await open({ [header]: of(order) })).status).toBe(201);
  }
  const at = (await open({})).headers.get("location") as string;
  for (const [header, of] of VERIFIED) {
    const append = await gateway.call("PATCH", at, {
      body: CONTENT,
      headers: { "upload-offset": "0", [header]: of() },
    });
    expect([header, append.status, await problemOf(append)]).toMatchObject([
      header,
      400,
      { code: "INVALID_HEADER", detail: expect.stringContaining("when the upload is completed") },
    ]);
  }
  expect((await gateway.call("HEAD", at)).headers.get("upload-offset")).toBe("0");
});
