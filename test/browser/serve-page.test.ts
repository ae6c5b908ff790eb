/** How the page is served: under a strict policy, from memory, and without a secret in it. */
import { afterAll, expect, test } from "bun:test";
import { restGateway } from "../support/rest-gateway.ts";

const { call, door, end } = await restGateway();
afterAll(end);
const page = await call("GET", "/console");
const html = await page.text();
const assets = [...html.matchAll(/(?:src|href)="(\/console\/[^"]+)"/g)].map(([, path]) => path as string);

test("the page may load nothing but its own files, and be framed by nobody", () => {
  const policy = page.headers.get("content-security-policy") ?? "";
  const nonce = /'nonce-([^']{24})'/.exec(policy)?.[1];
  expect(Object.fromEntries(policy.split("; ").map((part) => part.split(/ (.*)/)))).toEqual({
    "default-src": "'none'",
    "script-src": `'nonce-${nonce}'`,
    "style-src": `'nonce-${nonce}'`,
    "connect-src": "'self'",
    "img-src": "data:",
    "worker-src": "'none'",
    "object-src": "'none'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "frame-ancestors": "'none'",
  });
  expect(html.match(/<(script|link rel="stylesheet")[^>]*>/g)).toHaveLength(2);
  expect(html.split(`nonce="${nonce}"`)).toHaveLength(3);
  expect(html).not.toMatch(/<script(?![^>]*src=)|<style|\son\w+=/);
  expect(html).not.toMatch(/(?:src|href)="(?:https?:)?\/\//);
});

test("a nonce is good for one answer, which nobody keeps", async () => {
  const again = await call("GET", "/console");
  expect(again.headers.get("content-security-policy")).not.toBe(page.headers.get("content-security-policy"));
  expect(again.headers.get("cache-control")).toBe("no-store");
});

test("scripts and styles are kept for ever under a name with their hash", async () => {
  expect(assets.length).toBe(2);
  for (const path of assets) {
    const asset = await call("GET", path);
    expect(asset.headers.get("cache-control")).toContain("immutable");
    const etag = asset.headers.get("etag") as string;
    expect((await call("GET", path, { headers: { "if-none-match": etag } })).status).toBe(304);
  }
});

test("what a browser can unpack is sent packed, and small", async () => {
  let bytes = 0;
  for (const path of assets) {
    const asset = await call("GET", path, { headers: { "accept-encoding": "gzip, br" } });
    expect(asset.headers.get("content-encoding")).toBe("gzip");
    bytes += (await asset.arrayBuffer()).byteLength;
  }
  expect(bytes).toBeLessThan(80_000);
});

test("a file that the page does not have is a 404 that says so", async () => {
  const response = await call("GET", "/console/assets/none.js");
  expect([response.status, ((await response.json()) as { code: string }).code]).toEqual([404, "NO_SUCH_ROUTE"]);
});

test("with a token, the page comes without it and everything it asks for does not", async () => {
  const guarded = door({ token: "s3cret" });
  expect((await guarded.call("GET", "/console")).status).toBe(200);
  expect((await guarded.call("GET", assets[0] as string)).status).toBe(200);
  expect((await guarded.call("GET", "/console/")).status).toBe(200);
  for (const path of ["/console/api/about", "/console/x", "/cluster"])
    expect([path, (await guarded.call("GET", path)).status]).toEqual([path, 401]);
});
