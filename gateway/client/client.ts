/**
 * The client library: the file system's REST interface, typed, with what a careful program would have to add to it.
 *
 * - What is safe to repeat is repeated with back-off: reads always, writes under an idempotency key, so that one call has
 *   one effect however often it was sent.
 * - Bytes are checked from end to end by CRC-32, in both directions, whatever lies between.
 * - Downloads go on after a broken connection, on the same version of the file or not at all.
 *
 * ```ts
 * const dfs = createClient({ url: "http://127.0.0.1:8080" });
 * await dfs.put("notes/today.txt", "hello");
 * for await (const entry of dfs.list("notes/")) console.log(entry.path, entry.size);
 * const { body } = await dfs.get("notes/today.txt");
 * console.log(await new Response(body).text());
 * ```
 */
import type { WorkerMode } from "../../actors/messages/primitives.ts";
import { formatCrc32 } from "../../actors/rules/crc32.ts";
import { CONTENT_HEADER_FIELDS, headerTextProblem, META_PREFIX } from "../../actors/rules/file-headers.ts";
import type { Cluster, Explanation, ListedEntry, MasterGroup, MastersOrder, StoredFile } from "./answers.ts";
import type { CallOptions, PutOptions, Source } from "./call-options.ts";
import { observed, RunningCrc32 } from "./checked-bytes.ts";
import { DfsError } from "./dfs-error.ts";
import { type Download, download, type GetOptions, storedFileOf } from "./download.ts";
import { filesPath } from "./file-url.ts";
import { type ResumableOptions, uploadResumably } from "./resumable-upload.ts";
import { type Attempts, createTransport, type Transport } from "./transport.ts";

export type {
  Cluster,
  ExplainedChunk,
  Explanation,
  ListedEntry,
  MasterGroup,
  MastersOrder,
  StoredFile,
} from "./answers.ts";
export type { CallOptions, Condition, PutOptions, Source } from "./call-options.ts";
export { ClientErrorCodes, DfsError } from "./dfs-error.ts";
export type { Download, GetOptions } from "./download.ts";
export type { ResumableOptions } from "./resumable-upload.ts";

export interface ClientOptions extends Attempts {
  /** Of a gateway: `http://127.0.0.1:8080`. */
  url: string;
  /** Sent as `Authorization: Bearer …` where the gateway asks for one. */
  token?: string;
  /** Instead of the global one: for tests, proxies, or other transports. */
  fetch?: (url: string, init: RequestInit) => Promise<Response>;
}

export interface DfsClient {
  readonly url: string;
  /** Stores a whole file: visible at once and whole, or not at all. */
  put(path: string, source: Source, options?: PutOptions): Promise<StoredFile>;
  /** The same for large sources: kept from byte to byte, and able to go on after any interruption. */
  putResumable(path: string, source: Blob, options?: ResumableOptions): Promise<StoredFile>;
  /** Opens a file, or a range of it, for reading. Errors rather than deliver a wrong byte. */
  get(path: string, options?: GetOptions): Promise<Download>;
  /** What is known of a file without reading it. `IS_A_DIRECTORY` for directories. */
  head(path: string, options?: CallOptions): Promise<StoredFile>;
  /** All names that begin with `prefix`, in byte order, page by page as they are asked for. */
  list(prefix?: string, options?: ListOptions): AsyncIterableIterator<ListedEntry>;
  remove(path: string, options?: CallOptions & { recursive?: boolean; ifMatch?: string }): Promise<void>;
  /** Moves a file or a whole directory in one step. */
  rename(from: string, to: string, options?: CallOptions & { overwrite?: boolean }): Promise<void>;
  /** Makes a second name for the same bytes; none of them moves. */
  copy(from: string, to: string, options?: CallOptions & { overwrite?: boolean }): Promise<void>;
  mkdir(path: string, options?: CallOptions): Promise<void>;
  /** Where each chunk is, how good its copies are, and why they are there. */
  explain(path: string, options?: CallOptions): Promise<Explanation>;
  cluster(options?: CallOptions): Promise<Cluster>;
  setWorkerMode(workerId: string, mode: WorkerMode, options?: CallOptions): Promise<void>;
  /** Every master, by its own account. */
  masters(options?: CallOptions): Promise<MasterGroup>;
  orderMasters(order: MastersOrder, options?: CallOptions): Promise<MasterGroup>;
  /** The metadata as it is at one moment, to be kept in a file; `master --restore FILE` takes it. */
  backup(options?: CallOptions): Promise<ReadableStream<Uint8Array>>;
}

export interface ListOptions extends CallOptions {
  /** false: everything below, however deep. true (default): directories are one entry each. */
  byDirectory?: boolean;
  /** Entries per request. */
  pageSize?: number;
}

/** Bodies up to this size are summed before they are sent, so that the gateway can refuse damage before it commits. */
const SUM_FIRST_BYTES = 16 << 20;

/** @see DfsClient */
export function createClient(options: ClientOptions): DfsClient {
  const transport = createTransport(options);
  const change = async (path: string, what: string, body: unknown, call: CallOptions = {}): Promise<void> => {
    await transport.json(path, {
      method: "POST",
      what,
      body: JSON.stringify(body),
      headers: { "content-type": "application/json" },
      ...call,
    });
  };
  return {
    url: transport.url,
    put: (path, source, put) => putWhole(transport, path, source, put),
    putResumable: (path, source, upload) => uploadResumably(transport, path, source, upload),
    get: (path, get) => download(transport, path, get),

    async head(path, call = {}) {
      const response = await transport.request(filesPath(path), {
        method: "HEAD",
        what: `Looking at ${path}`,
        ...call,
      });
      return storedFileOf(path, response);
    },

    list: (prefix = "", list = {}) => listPages(transport, prefix, list),

    async remove(path, { recursive, ifMatch, ...call } = {}) {
      await transport.json(`${filesPath(path)}${recursive ? "?recursive=true" : ""}`, {
        method: "DELETE",
        what: `Deleting ${path}`,
        headers: ifMatch ? { "if-match": ifMatch } : {},
        ...call,
      });
    },

    rename: (from, to, { overwrite, ...call } = {}) =>
      change(filesPath(from), `Renaming ${from}`, { rename: to, overwrite: overwrite ?? false }, call),
    copy: (from, to, { overwrite, ...call } = {}) =>
      change(filesPath(from), `Copying ${from}`, { copy: to, overwrite: overwrite ?? false }, call),
    mkdir: (path, call) => change(filesPath(path), `Making directory ${path}`, { mkdir: true }, call),

    async explain(path, call) {
      let whole: Explanation | undefined;
      for (let fromIndex: number | null = 0; fromIndex !== null; ) {
        const url: string = `${filesPath(path)}?explain&limit=1000&fromIndex=${fromIndex}`;
        const page = (await transport.json(url, { what: `Explaining ${path}`, ...call })) as Explanation & {
          next: number | null;
        };
        if (whole && whole.etag !== page.etag)
          throw new DfsError("FILE_CHANGED", `${path} was replaced meanwhile`, 412);
        const chunks: Explanation["chunks"] = [...(whole?.chunks ?? []), ...page.chunks];
        whole = { ...page, chunks };
        fromIndex = page.next ?? null;
      }
      return whole as Explanation;
    },
    masters: (call) =>
      transport.json("/cluster/masters", { what: "Asking for the masters", ...call }) as Promise<MasterGroup>,
    orderMasters: (order, call) =>
      transport.json("/cluster/masters", {
        method: "POST",
        what: "Changing the masters",
        headers: { "content-type": "application/json" },
        body: () => JSON.stringify(order),
        ...call,
      }) as Promise<MasterGroup>,
    async backup(call) {
      const { body } = await transport.request("/cluster/backup", { what: "Making a backup", ...call });
      if (!body) throw new DfsError("UNEXPECTED_ANSWER", "The backup has no content");
      return body as ReadableStream<Uint8Array>;
    },
    cluster: (call) => transport.json("/cluster", { what: "Asking for the cluster", ...call }) as Promise<Cluster>,
    setWorkerMode: (workerId, mode, call) =>
      change(`/cluster/workers/${encodeURIComponent(workerId)}`, `Setting ${workerId} to ${mode}`, { mode }, call),
  };
}

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

async function putWhole(transport: Transport, path: string, source: Source, options: PutOptions = {}) {
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

async function* listPages(
  transport: Transport,
  prefix: string,
  { byDirectory = true, pageSize, ...call }: ListOptions,
) {
  let cursor: string | null = null;
  do {
    const query = new URLSearchParams({ prefix });
    if (byDirectory) query.set("delimiter", "/");
    if (pageSize !== undefined) query.set("limit", String(pageSize));
    if (cursor !== null) query.set("cursor", cursor);
    const page = (await transport.json(`/files?${query}`, { what: `Listing ${prefix || "/"}`, ...call })) as {
      entries: ListedEntry[];
      cursor: string | null;
    };
    yield* page.entries;
    cursor = page.cursor;
  } while (cursor !== null);
}
