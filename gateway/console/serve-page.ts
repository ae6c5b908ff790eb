/**
 * The console's page: bundled from `page/` when it is first asked for, kept in memory, and served under a policy that lets
 * it load nothing from anywhere else. Bun bundles it in some 20 ms, so there is no build step and no built file to go stale.
 */
import { join } from "node:path";
import { gzipSync } from "bun";
import { Elysia } from "elysia";
import { Refusal } from "../../actors/messages/errors.ts";
import { SERVER_OPTIONS } from "../../actors/node/http/server-options.ts";
import { BINARY, describe, NO_QUERY } from "../http/describe.ts";
import { readQuery } from "../http/query.ts";

const PAGE = join(import.meta.dir, "page", "page.html");
const ASSETS = "/console/assets/";
const NONCE = "NONCE-OF-THIS-ANSWER";
/**
 * Lets the page load its own files only, each marked with the nonce of this answer. `'self'` would let a stored `/files/x.js`
 * run here, and a path in a policy no longer counts after a redirect. `connect-src` is for the data that the page fetches,
 * `data:` for the icon.
 */
const policyOf = (nonce: string): string =>
  [
    "default-src 'none'",
    `script-src 'nonce-${nonce}'`,
    `style-src 'nonce-${nonce}'`,
    "connect-src 'self'",
    "img-src data:",
    "worker-src 'none'",
    "object-src 'none'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; ");

/** A script or style that is opened by itself may do nothing. */
const ASSET_POLICY = "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox";

interface Asset {
  bytes: Uint8Array<ArrayBuffer>;
  gzipped: Uint8Array<ArrayBuffer>;
  contentType: string;
  etag: string;
}

export interface PageBundle {
  /** With `NONCE` wherever this answer's nonce belongs. */
  html: string;
  /** By file name, which holds a hash of the content. */
  assets: Map<string, Asset>;
}

function assetOf(bytes: Uint8Array<ArrayBuffer>, contentType: string): Asset {
  return { bytes, gzipped: gzipSync(bytes), contentType, etag: `"${Bun.hash(bytes).toString(16)}"` };
}

/** @throws AggregateError naming the file and line that does not compile */
async function bundlePage(): Promise<PageBundle> {
  const { outputs } = await Bun.build({
    entrypoints: [PAGE],
    minify: true,
    publicPath: ASSETS,
    naming: "[name]-[hash].[ext]",
    define: { "process.env.NODE_ENV": '"production"' },
  });
  const assets = new Map<string, Asset>();
  let html: string | null = null;
  for (const output of outputs) {
    if (output.type.startsWith("text/html")) html = await output.text();
    else {
      const asset = assetOf(new Uint8Array(await output.arrayBuffer()), output.type);
      assets.set(output.path.replace(/^\.?\//, ""), asset);
    }
  }
  if (html === null) throw new Error("page.html gave no page");
  const named = new HTMLRewriter().on("script, link[rel=stylesheet]", {
    element: (element) => void element.setAttribute("nonce", NONCE),
  });
  return { html: named.transform(html), assets };
}

/** Not to be cached: the nonce is good for one answer. */
function pageAnswer(html: string): Response {
  const nonce = crypto.getRandomValues(new Uint8Array(18)).toBase64();
  return new Response(html.replaceAll(NONCE, nonce), {
    headers: {
      "content-type": "text/html; charset=utf-8",
      "content-security-policy": policyOf(nonce),
      "x-content-type-options": "nosniff",
      "referrer-policy": "no-referrer",
      "cache-control": "no-store",
    },
  });
}

function assetAnswer(request: Request, asset: Asset): Response {
  const headers = {
    "content-type": asset.contentType,
    "content-security-policy": ASSET_POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "public, max-age=31536000, immutable",
    etag: asset.etag,
    vary: "accept-encoding",
  };
  if (request.headers.get("if-none-match") === asset.etag) return new Response(null, { status: 304, headers });
  if (/\bgzip\b/.test(request.headers.get("accept-encoding") ?? ""))
    return new Response(asset.gzipped, { headers: { ...headers, "content-encoding": "gzip" } });
  return new Response(asset.bytes, { headers });
}

export function servePage() {
  let bundle: Promise<PageBundle> | undefined;
  const bundled = (): Promise<PageBundle> => {
    bundle ??= bundlePage();
    return bundle;
  };
  return new Elysia(SERVER_OPTIONS)
    .get(
      "/console",
      async ({ request }) => {
        readQuery(request.url, NO_QUERY);
        return pageAnswer((await bundled()).html);
      },
      {
        // The page holds no secret. Where a token is needed, the page asks for it and sends it with every request.
        detail: describe({
          public: true,
          query: NO_QUERY,
          summary: "The console, for people",
          description: "Files, the cluster's health and its failovers, on one page that loads nothing from elsewhere.",
          tag: "description",
          responses: { 200: { description: "the page", content: { "text/html": BINARY } } },
          errors: [],
        }),
      },
    )
    .get(
      `${ASSETS}:id`,
      async ({ request, params }) => {
        const asset = (await bundled()).assets.get(params.id);
        if (!asset) throw new Refusal("NO_SUCH_ROUTE", `The console has no file "${params.id.slice(0, 80)}"`);
        return assetAnswer(request, asset);
      },
      {
        detail: describe({
          public: true,
          query: NO_QUERY,
          summary: "Scripts and styles of the console",
          tag: "description",
          path: { id: "file name, with a hash of its content" },
          responses: { 200: { description: "the file", content: { "*/*": BINARY } } },
          errors: ["NO_SUCH_ROUTE"],
        }),
      },
    );
}
