/**
 * Files from an HTML form, as browsers and `curl -F` send them. The form is parsed as it arrives (@fastify/busboy:
 * streams with back-pressure, no dependencies), and its files are stored one after another.
 */
import type { Readable } from "node:stream";
import Busboy from "@fastify/busboy";
import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { Refusal } from "../../actors/messages/errors.ts";
import { SERVER_OPTIONS } from "../../actors/node/http/server-options.ts";
import { CONTENT_HEADERS, headerValue, META_PREFIX } from "../../actors/rules/file-headers.ts";
import { checkPath } from "../../actors/rules/path.ts";
import { refuseConditions } from "../http/conditions.ts";
import { type Gateway, servicesFor } from "../http/context.ts";
import { BINARY, describe, FROM_CHANGES, IDEMPOTENCY_KEY } from "../http/describe.ts";
import { DIGEST_HEADERS, readDigests, refuseDigests } from "../http/digests.ts";
import { readQuery } from "../http/query.ts";
import {
  checkFileHeaders,
  checkMetadataName,
  checkValue,
  readFileHeaders,
  readIdempotencyKey,
} from "../http/request-headers.ts";
import { FileLayoutQuery, readFileLayout } from "./file-attributes.ts";
import { FileJson, fileJson } from "./file-json.ts";

const LIMITS = { files: 1000, fields: 1000, parts: 2000, fieldSize: 8192, fieldNameSize: 100, headerPairs: 50 };

/** Fields named like headers say of a file what the header of a PUT does. */
const OF_ONE_FILE: readonly string[] = [...DIGEST_HEADERS, "Want-Repr-Digest"];
const HEADER_FIELDS = new Set([...Object.values(CONTENT_HEADERS), ...OF_ONE_FILE].map((name) => name.toLowerCase()));
const isHeaderField = (name: string): boolean => HEADER_FIELDS.has(name) || name.startsWith(META_PREFIX);

const Form = Type.Object({
  prefix: Type.Optional(Type.String({ description: "put before the names of all files that follow, e.g. photos/" })),
  path: Type.Optional(Type.String({ description: "whole path of the next file, instead of its own name" })),
  ...Object.fromEntries(
    [...Object.values(CONTENT_HEADERS), "x-meta-{name}"].map((name) => [
      name,
      Type.Optional(Type.String({ description: "as the header of PUT, for all files that follow" })),
    ]),
  ),
  ...Object.fromEntries(
    OF_ONE_FILE.map((name) => [
      name,
      Type.Optional(Type.String({ description: "as the header of PUT, for the next file" })),
    ]),
  ),
  file: Type.Unsafe<Blob>(BINARY),
});
const Stored = Type.Object({ files: Type.Array(FileJson) });

export const formUpload = (gateway: Gateway) =>
  new Elysia(SERVER_OPTIONS).post(
    "/files",
    async ({ request }) => {
      const layout = readFileLayout(readQuery(request.url, FileLayoutQuery), gateway.config);
      const idempotencyKey = readIdempotencyKey(request.headers);
      refuseConditions(request.headers, "PUT one file at a time on a condition");
      refuseDigests(request.headers, "A field of that name before a file is the digest of that file.");
      const { transfers } = servicesFor(gateway, request);
      const files: FileJson[] = [];
      try {
        await eachFile(request, async ({ path, contentType, said, body }) => {
          const { maxUserMetadataBytes } = gateway.config.limits;
          const { file } = await transfers.put({
            path,
            body,
            ...checkFileHeaders({ ...readFileHeaders(said, maxUserMetadataBytes), contentType }, maxUserMetadataBytes),
            ...readDigests(said),
            ...layout,
            idempotencyKey: idempotencyKey && `${idempotencyKey}#${files.length}`,
            signal: request.signal,
          });
          files.push(fileJson(file));
        });
      } catch (error) {
        if (error instanceof Refusal && files.length > 0)
          throw new Refusal(error.code, error.message, { ...error.details, stored: files.map(({ path }) => path) });
        throw error;
      }
      if (files.length === 0) throw new Refusal("INVALID_BODY", "The form has no file");
      return Response.json({ files }, { status: 201 });
    },
    {
      parse: "none",
      detail: describe({
        query: FileLayoutQuery,
        summary: "Store files from a form",
        description:
          "Fields count for the files after them. Each file is stored as by PUT; if one fails, details.stored names those that were stored before it.",
        tag: "files",
        headers: IDEMPOTENCY_KEY,
        body: { "multipart/form-data": Form },
        responses: { 201: { description: "all stored", content: { "application/json": Stored } } },
        errors: [
          "INVALID_PATH",
          "INVALID_PARAMETER",
          "INVALID_HEADER",
          "INVALID_BODY",
          "BODY_INCOMPLETE",
          "DIGEST_MISMATCH",
          "METADATA_TOO_LARGE",
          "PAYLOAD_TOO_LARGE",
          "UNSUPPORTED_MEDIA_TYPE",
          "IS_A_DIRECTORY",
          "NOT_A_DIRECTORY",
          "NOT_ENOUGH_WORKERS",
          "TOO_FEW_REPLICAS",
          "OVERLOADED",
          ...FROM_CHANGES,
        ],
      }),
    },
  );

interface FormFile {
  path: string;
  contentType: string;
  /** What the fields before it say of it. */
  said: Headers;
  body: ReadableStream<Uint8Array>;
}

/**
 * Calls `store` for one file after another; a file that is not read yet holds the form back. When one
 * fails, the files still being read fail with it, and every store has ended before this throws.
 */
async function eachFile(request: Request, store: (file: FormFile) => Promise<void>): Promise<void> {
  const contentType = request.headers.get("content-type") ?? "";
  if (!/^multipart\/form-data\s*;/i.test(contentType))
    throw new Refusal(
      "UNSUPPORTED_MEDIA_TYPE",
      `Content-Type is ${contentType.slice(0, 80) || "missing"}; allowed: multipart/form-data with a boundary`,
    );
  const form = openForm(contentType);
  const streams = new Set<Readable>();
  const { promise: failure, reject } = Promise.withResolvers<never>();
  failure.catch(() => {});
  let broken: Error | null = null;
  const fail = (cause: Error): void => {
    broken ??= incomplete(cause);
    for (const stream of streams) stream.destroy(broken);
    reject(broken);
  };
  let stored: Promise<void> = Promise.resolve();
  let prefix = "";
  let nextPath: string | null = null;
  const said = new Headers();
  form.on("field", (name, value, nameTruncated, valueTruncated) => {
    if (nameTruncated || valueTruncated)
      fail(new Refusal("PAYLOAD_TOO_LARGE", `A form field has more than ${LIMITS.fieldSize} bytes`, { field: name }));
    if (name === "prefix") prefix = value;
    if (name === "path") nextPath = value;
    try {
      sayOf(said, name, value);
    } catch (error) {
      fail(error as Refusal);
    }
  });
  form.on("file", (_field, stream, filename, _encoding, mimeType) => {
    const path = nextPath ?? `${prefix}${unescapedName(filename ?? "")}`;
    const saidOfThis = new Headers(said);
    nextPath = null;
    for (const name of OF_ONE_FILE) said.delete(name);
    streams.add(stream);
    stream.on("error", fail);
    stored = stored.then(async () => {
      if (broken) throw broken;
      const body = bodyOf(stream, () => broken);
      await store({ path: checkPath(path), contentType: mimeType, said: saidOfThis, body });
      streams.delete(stream);
    });
    stored.catch(fail);
  });
  for (const limit of ["filesLimit", "fieldsLimit", "partsLimit"] as const)
    form.on(limit, () =>
      fail(new Refusal("PAYLOAD_TOO_LARGE", `The form has too many parts; allowed: ${LIMITS.files} files`)),
    );
  const parsed = new Promise<void>((resolve) => form.on("finish", resolve));
  form.on("error", fail);
  feed(request, form).catch(fail);
  try {
    await Promise.race([failure, parsed]);
  } finally {
    await stored.catch(() => {});
  }
  if (broken) throw broken;
}

/** Notes a field that is named like a header. @throws INVALID_HEADER, METADATA_TOO_LARGE */
function sayOf(said: Headers, field: string, value: string): void {
  const name = field.toLowerCase();
  if (!isHeaderField(name)) return;
  if (name.startsWith(META_PREFIX)) checkMetadataName(name.slice(META_PREFIX.length));
  checkValue(name, value);
  said.set(name, headerValue(value));
}

/** A file's name as it was before a browser escaped it. @see https://html.spec.whatwg.org/multipage/form-control-infrastructure.html#multipart-form-data */
const unescapedName = (filename: string): string =>
  filename.replace(/%0A|%0D|%22/g, (code) => String.fromCharCode(Number.parseInt(code.slice(1), 16)));

function openForm(contentType: string) {
  try {
    return Busboy({ headers: { "content-type": contentType }, limits: LIMITS, preservePath: true });
  } catch (cause) {
    throw new Refusal("INVALID_BODY", `The form cannot be read: ${(cause as Error).message}`);
  }
}

async function feed(request: Request, form: ReturnType<typeof Busboy>): Promise<void> {
  for await (const bytes of request.body ?? [])
    await new Promise<void>((resolve, reject) => {
      form.write(bytes, (error) => (error ? reject(error) : resolve()));
    });
  form.end();
}

const incomplete = (cause: Error): Refusal =>
  cause instanceof Refusal ? cause : new Refusal("BODY_INCOMPLETE", `The form ended early: ${cause.message}`);

/**
 * The bytes of one file of the form, read on demand. A part that ended without its delimiter is no file: the parser says so
 * before the part's end arrives here.
 */
function bodyOf(stream: Readable, broken: () => Error | null): ReadableStream<Uint8Array> {
  const pieces = stream[Symbol.asyncIterator]() as AsyncIterator<Uint8Array, void>;
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        const { done, value } = await pieces.next();
        if (!done) return controller.enqueue(value);
        const cause = broken();
        if (cause) throw cause;
        controller.close();
      },
      cancel: () => void stream.destroy(),
    },
    { highWaterMark: 0 },
  );
}
