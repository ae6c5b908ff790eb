/** Writing a file in one request. */
import { formatCrc32 } from "../../actors/rules/crc32.ts";
import { CONTENT_HEADER_FIELDS, headerTextProblem, META_PREFIX } from "../../actors/rules/file-headers.ts";
import type { StoredFile } from "./answers.ts";
import type { PutOptions, Source } from "./call-options.ts";
import { observed, RunningCrc32 } from "./checked-bytes.ts";
import { DfsError } from "./dfs-error.ts";
import { filesPath } from "./file-url.ts";
import type { Transport } from "./transport.ts";

/** Bodies up to this size are summed before they are sent, so that the gateway can refuse damage before it commits. */
const SUM_FIRST_BYTES = 16 << 20;

/** Text as `fetch` takes it, one character per byte of UTF-8. @throws DfsError INVALID_HEADER */
function wireText(what: string, text: string): string {
  const problem = headerTextProblem(text);
  if (problem) throw new DfsError("INVALID_HEADER", `The value of ${what} ${problem}`, 400);
  return Buffer.from(text).toString("latin1");
}

function writeHeaders({ contentType, meta, ifMatch, createOnly, ...rest }: PutOptions): Record<string, string> {
  const headers: Record<string, string> = {};
  if (contentType) headers["content-type"] = contentType;
  for (const [field, name] of CONTENT_HEADER_FIELDS) if (rest[field]) headers[name] = wireText(name, rest[field]);
  if (ifMatch) headers["if-match"] = ifMatch;
  if (createOnly) headers["if-none-match"] = "*";
  for (const [name, value] of Object.entries(meta ?? {}))
    headers[`${META_PREFIX}${name}`] = wireText(`meta ${name}`, value);
  return headers;
}

/** @throws DfsError CHECKSUM_MISMATCH if what was stored is not what was sent */
export async function putWhole(
  transport: Transport,
  path: string,
  source: Source,
  options: PutOptions = {},
): Promise<StoredFile> {
  const { onProgress, signal, idempotencyKey, replication, chunkSize } = options;
  const query = new URLSearchParams();
  if (replication !== undefined) query.set("replication", String(replication));
  if (chunkSize !== undefined) query.set("chunkSize", String(chunkSize));
  const headers = writeHeaders(options);
  let content: Uint8Array | Blob | ReadableStream<Uint8Array> = source as Exclude<Source, string>;
  if (typeof source === "string") content = new TextEncoder().encode(source);
  if (content instanceof Blob && content.size <= SUM_FIRST_BYTES) {
    if (content.type && !options.contentType) headers["content-type"] = content.type;
    content = await content.bytes();
  }

  let sum = new RunningCrc32();
  const body = (): RequestInit["body"] => {
    sum = new RunningCrc32();
    if (content instanceof Uint8Array) {
      sum.update(content);
      return content as Uint8Array<ArrayBuffer>;
    }
    return observed(content instanceof Blob ? content.stream() : content, (bytes) => {
      sum.update(bytes);
      onProgress?.(sum.position);
    });
  };
  if (content instanceof Uint8Array) headers["x-crc32"] = formatCrc32(Bun.hash.crc32(content));

  const response = await transport.request(`${filesPath(path)}${query.size > 0 ? `?${query}` : ""}`, {
    method: "PUT",
    what: `Writing ${path}`,
    body,
    headers,
    signal,
    idempotencyKey,
    once: content instanceof ReadableStream,
  });
  const file = (await response.json()) as StoredFile;
  onProgress?.(sum.position);
  if (file.size !== sum.position || file.crc32 !== formatCrc32(sum.crc32))
    throw new DfsError(
      "CHECKSUM_MISMATCH",
      `${path} was stored with ${file.size} bytes and CRC-32 ${file.crc32}; sent were ${sum.position} and ${formatCrc32(sum.crc32)}`,
      response.status,
    );
  return file;
}
