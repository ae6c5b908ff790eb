/** GetObject and HeadObject: content and its description, whole or in ranges; with `?explain`, where its chunks are. */
import { type Static, Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { Refusal } from "../../actors/messages/errors.ts";
import { SERVER_OPTIONS } from "../../actors/node/http/server-options.ts";
import { headerValue } from "../../actors/rules/file-headers.ts";
import { begun, inParts, joined, type Part } from "../http/byte-streams.ts";
import { decideRead, rangeApplies } from "../http/conditions.ts";
import { type Gateway, servicesFor } from "../http/context.ts";
import { BINARY, describe, FILE_PATH, FROM_MASTERS } from "../http/describe.ts";
import { RefusalWithHeaders } from "../http/problem.ts";
import { readQuery } from "../http/query.ts";
import { contentRange, decideRanges } from "../http/range.ts";
import { stateLength } from "../http/stated-length.ts";
import type { Services } from "../ports/backend.ts";
import type { Consistency, Namespace } from "../ports/namespace.ts";
import type { ByteRange, Bytes, OpenFile, StreamOptions } from "../ports/transfers.ts";
import { VersionGone } from "../ports/version-gone.ts";
import { ConsistencyQuery, consistencyHeaders, withFreshness } from "./consistency.ts";
import { Explanation, explainFile } from "./explain.ts";
import { contentHeaders, fileHeaders } from "./file-json.ts";
import { pathFromUrl } from "./path.ts";

const Query = Type.Object(
  {
    ...ConsistencyQuery,
    download: Type.Optional(Type.String({ maxLength: 255, description: "save under this name, or under its own" })),
    explain: Type.Optional(Type.String({ maxLength: 10, description: "answer where the chunks are instead" })),
    fromIndex: Type.Optional(Type.Integer({ minimum: 0, description: "with explain: first chunk, 0 or more" })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 1000, description: "with explain: chunks, 1 to 1000" })),
  },
  { additionalProperties: false },
);

/** Clients choose the content: a browser must neither guess its type nor run it in the gateway's origin. */
const CONTENT_POLICY = { "x-content-type-options": "nosniff", "content-security-policy": "sandbox" };

/** Look-ups for one request, while the file is replaced again and again before its first byte could be read. */
const MOST_LOOKS = 4;

/** Bun sends streams chunked and drops their Content-Length (oven-sh/bun#10507): progress bars find it here. */
const LENGTH_HEADER = "x-content-length";

/** The status that metrics and log show for a client that left before its answer. The number is nginx's. */
const CLIENT_HAS_LEFT = 499;
/** Seconds until the connection of a stalled client is closed. */
const CUT_AFTER_S = 1;

export const getObject = (gateway: Gateway) =>
  new Elysia(SERVER_OPTIONS).get(
    "/files/*",
    async ({ request, server }) => {
      const path = pathFromUrl(request.url);
      const query = readQuery(request.url, Query);
      const cut = () => server?.timeout(request, CUT_AFTER_S);
      const services = servicesFor(gateway, request);
      if (query.explain !== undefined) {
        const explained = explainFile(services.operations, path, query.fromIndex ?? 0, query.limit ?? 100).catch(
          (error) => {
            throw withFreshness(error, query.consistency, error.code === "NO_SUCH_FILE" ? 0 : undefined);
          },
        );
        return Response.json(await explained, { headers: consistencyHeaders(query.consistency) });
      }
      const seen: Seen = {};
      for (let look = 1; ; look++)
        try {
          // The leader knows a newer version than the one that was gone.
          const asked: typeof query = look === 1 ? query : { ...query, consistency: "strong" };
          return await read(
            { services, blockSizeBytes: gateway.config.blockSizeBytes, request, path, cut, seen },
            asked,
          );
        } catch (error) {
          if (!(error instanceof VersionGone) || look === MOST_LOOKS)
            throw withFreshness(error, query.consistency, seen.ageMs);
        }
    },
    {
      detail: describe({
        query: Query,
        summary: "Read a file, or where its chunks are",
        description:
          "HEAD answers the same headers without content. What was said of the content when it was stored comes back: Content-Type, Content-Encoding, Content-Language, Content-Disposition (unless ?download), Cache-Control (no-cache unless it or Expires was said), Expires. Every block is checked before it is sent; a bad copy is replaced by a good one within the same answer.",
        tag: "files",
        path: FILE_PATH,
        headers: {
          Range: "bytes=0-99, bytes=100-, bytes=-50, or several",
          "If-Range": "the range counts only for this ETag or date",
          "If-None-Match": "304 if the file still has one of these ETags",
          "If-Modified-Since": "304 if it is not newer",
          "If-Match": "412 unless the file has one of these ETags",
          "If-Unmodified-Since": "412 if it is newer",
        },
        responses: {
          200: {
            description: "the content, or with ?explain the chunks",
            content: { "*/*": BINARY, "application/json": Explanation },
          },
          206: { description: "the ranges asked for", content: { "*/*": BINARY, "multipart/byteranges": BINARY } },
          304: { description: "the client's copy is current" },
        },
        errors: [
          "INVALID_PATH",
          "INVALID_PARAMETER",
          "INVALID_HEADER",
          "NO_SUCH_FILE",
          "IS_A_DIRECTORY",
          "PRECONDITION_FAILED",
          "RANGE_NOT_SATISFIABLE",
          "DATA_UNAVAILABLE",
          "OVERLOADED",
          ...FROM_MASTERS,
        ],
      }),
    },
  );

/** Age of the state that the answer comes from. */
interface Seen {
  ageMs?: number;
}

interface Reading {
  services: Services;
  blockSizeBytes: number;
  request: Request;
  path: string;
  /** Closes the connection of a stalled client soon. */
  cut: () => void;
  seen: Seen;
}

/** Answers from one version of the file. @throws VersionGone if it was gone before the first byte was read */
async function read(
  { services, blockSizeBytes, request, path, cut, seen }: Reading,
  query: Static<typeof Query>,
): Promise<Response> {
  const { headers, signal } = request;
  const isHead = request.method === "HEAD";
  const { consistency = "strong" } = query;
  const source = isHead
    ? await headSource(services.namespace, path, consistency)
    : await services.transfers.openFile(path, { consistency });
  const { file } = source;
  seen.ageMs = source.ageMs ?? 0;
  const answer = fileHeaders(file);
  const verdict = decideRead(headers, file);
  if (verdict === "preconditionFailed")
    throw new Refusal("PRECONDITION_FAILED", `"${path}" is not in the state that the request demands`, {
      etag: `"${file.etag}"`,
    });
  for (const [name, value] of Object.entries(consistencyHeaders(consistency, source.ageMs))) answer.set(name, value);
  for (const [name, value] of contentHeaders(file)) answer.set(name, value);
  if (!answer.has("cache-control") && !answer.has("expires")) answer.set("cache-control", "no-cache");
  if (query.download !== undefined) answer.set("content-disposition", attachment(query.download || path));
  answer.set("accept-ranges", "bytes");
  if (verdict === "notModified") return new Response(null, { status: 304, headers: answer });
  for (const [name, value] of Object.entries(CONTENT_POLICY)) answer.set(name, value);
  answer.set("content-type", headerValue(file.contentType));

  const applies = rangeApplies(headers.get("if-range"), file);
  const ranges = decideRanges(applies ? headers.get("range") : null, file.sizeBytes, blockSizeBytes);
  if (ranges.kind === "unsatisfiable")
    throw new RefusalWithHeaders(
      "RANGE_NOT_SATISFIABLE",
      ranges.reason,
      { size: file.sizeBytes },
      { "content-range": `bytes */${file.sizeBytes}` },
    );
  const wanted = ranges.kind === "whole" ? [{ start: 0, endExclusive: file.sizeBytes }] : ranges.ranges;
  const status = ranges.kind === "whole" ? 200 : 206;
  const content = wanted.length === 1 ? single(source, wanted[0] as ByteRange) : several(source, wanted, answer);
  if (status === 206 && wanted.length === 1)
    answer.set("content-range", contentRange(wanted[0] as ByteRange, file.sizeBytes));
  if (content.contentType) {
    for (const name of OF_EACH_PART) answer.delete(name);
    answer.set("content-type", content.contentType);
  }
  answer.set("content-length", String(content.lengthBytes));
  answer.set(LENGTH_HEADER, String(content.lengthBytes));
  if (isHead) stateLength(request, content.lengthBytes);
  if (isHead) return new Response(null, { status, headers: answer });
  const isSmall = content.lengthBytes <= blockSizeBytes;
  const take = () => (isSmall ? content.bytes(signal) : begun(content.open({ passing: true, cut }), signal));
  const body = signal.aborted ? null : await take();
  if (!signal.aborted) return new Response(body, { status, headers: answer });
  if (body instanceof ReadableStream) await body.cancel();
  return new Response(null, { status: CLIENT_HAS_LEFT });
}

/** HEAD locates no chunk. */
async function headSource(namespace: Namespace, path: string, consistency: Consistency): Promise<OpenFile> {
  const { entry, ageMs } = await namespace.look(path, consistency);
  const found = { path, ...(consistency === "eventual" ? { ageMs } : {}) };
  if (entry === null) throw new Refusal("NO_SUCH_FILE", `There is no file "${path}"`, found);
  if (entry.kind === "directory") throw new Refusal("IS_A_DIRECTORY", `"${path}" is a directory`, found);
  return {
    file: entry,
    ageMs,
    bytes: noContent,
    stream: noContent,
    streamRanges: noContent,
  };
}

const noContent = (): never => {
  throw new Error("HEAD sends no content");
};

interface Content {
  lengthBytes: number;
  contentType?: string;
  /** All of it at once. Used where it is no longer than a block. */
  bytes: (signal: AbortSignal) => Promise<Bytes | null>;
  /** The server writes each piece before it pulls the next. */
  open: (options: StreamOptions) => ReadableStream<Uint8Array>;
}

/** Headers about the file's bytes. An answer of several ranges has them in its parts: it is of another type itself. */
const OF_EACH_PART = ["Content-Type", "Content-Encoding", "Content-Language"];
const bytesOf = (latin1: string): Bytes => Uint8Array.from(latin1, (character) => character.charCodeAt(0));

const lengthOf = ({ start, endExclusive }: ByteRange): number => endExclusive - start;

const single = (source: OpenFile, range: ByteRange): Content => ({
  lengthBytes: lengthOf(range),
  bytes: async (signal) => (lengthOf(range) === 0 ? null : source.bytes([range], signal)),
  open: (options) => source.stream(range.start, range.endExclusive, options),
});

/** @param described the headers of a whole answer: each part repeats what they say of its bytes */
function several(source: OpenFile, ranges: ByteRange[], described: Headers): Content {
  const boundary = crypto.randomUUID();
  const said = OF_EACH_PART.flatMap((name) => (described.has(name) ? `${name}: ${described.get(name)}\r\n` : []));
  const parts = ranges.map(
    (range, n): Part => ({
      head: bytesOf(
        `${n === 0 ? "" : "\r\n"}--${boundary}\r\n${said.join("")}Content-Range: ${contentRange(range, source.file.sizeBytes)}\r\n\r\n`,
      ),
      lengthBytes: lengthOf(range),
    }),
  );
  const tail = bytesOf(`\r\n--${boundary}--\r\n`);
  const framing = parts.reduce((sum, { head }) => sum + head.length, tail.length);
  return {
    lengthBytes: parts.reduce((sum, { lengthBytes }) => sum + lengthBytes, framing),
    contentType: `multipart/byteranges; boundary=${boundary}`,
    bytes: async (signal) => joined(parts, tail, await source.bytes(ranges, signal)),
    open: (options) => inParts(parts, tail, source.streamRanges(ranges, options)),
  };
}

/** @see RFC 6266; the plain name is for old clients, without what could end the quoted string */
function attachment(pathOrName: string): string {
  const name = pathOrName.slice(pathOrName.lastIndexOf("/") + 1);
  const plain = name.replace(/[^\x20-\x7e]|["\\%]/g, "_");
  const encoded = encodeURIComponent(name).replace(/['()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`);
  return `attachment; filename="${plain}"; filename*=UTF-8''${encoded}`;
}
