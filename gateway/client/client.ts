/**
 * The client library: the file system's REST interface, typed, with what a careful program would have to add to it.
 *
 * - What is safe to repeat is repeated with back-off: reads always, writes under an idempotency key, so that one call has
 *   one effect however often it was sent.
 * - Bytes are checked from end to end by CRC-32, in both directions, whatever lies between.
 * - Downloads go on after a broken connection, on the same version of the file or not at all.
 *
 * Every example below runs as it stands, after `createClient`'s; what it prints is in its comments.
 */
import type { WorkerMode } from "../../actors/messages/primitives.ts";
import type { Cluster, Explanation, ListedEntry, MasterGroup, MastersOrder, StoredFile } from "./answers.ts";
import type { CallOptions, PutOptions, Source } from "./call-options.ts";
import { DfsError } from "./dfs-error.ts";
import { type Download, download, type GetOptions, storedFileOf } from "./download.ts";
import { filesPath } from "./file-url.ts";
import { type ListOptions, listPages } from "./list-pages.ts";
import { putWhole } from "./put-whole.ts";
import { type ResumableOptions, uploadResumably } from "./resumable-upload.ts";
import { type Attempts, createTransport } from "./transport.ts";

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
export type { ListOptions } from "./list-pages.ts";
export type { ResumableOptions } from "./resumable-upload.ts";

export interface ClientOptions extends Attempts {
  /** Address of a gateway, without a path: `http://127.0.0.1:8080`. */
  url: string;
  /** Sent as `Authorization: Bearer …`, for a gateway that asks for a token. @default none is sent */
  token?: string;
  /** For tests, proxies, or other transports. @default the global `fetch` */
  fetch?: (url: string, init: RequestInit) => Promise<Response>;
}

export interface MoveOptions extends CallOptions {
  /** A file that is at the new path may be replaced; a directory never. @default false */
  overwrite?: boolean;
}

export interface RemoveOptions extends CallOptions {
  /** A directory goes with all that is in it, in one step. @default false: DIRECTORY_NOT_EMPTY */
  recursive?: boolean;
  /** Only the version with this etag: PRECONDITION_FAILED otherwise. @default any version */
  ifMatch?: string;
}

/**
 * A gateway, as a program uses it. Paths are UTF-8 without a slash at either end; directories come and go by themselves or
 * by `mkdir`. Every failure is a `DfsError`, whose `code` programs can rely on. Any call may throw these:
 *
 * - `UNREACHABLE`: no connection, also after `retries` repetitions
 * - `UNAUTHENTICATED`: the gateway asks for a token, and it is another one
 * - `NO_LEADER`, `OVERLOADED`, `NOT_READY`, `TIMEOUT`: the cluster could not answer, also after the repetitions
 * - `OUTCOME_UNKNOWN`: a change was sent, and no answer tells whether it took effect
 * - `ABORTED`: the `signal` of the call fired
 * - `INVALID_PATH`: the path has an empty segment, `.` or `..`, or is too long
 */
export interface DfsClient {
  /** Of the gateway, without a slash at the end. */
  readonly url: string;
  /**
   * Stores a whole file: visible at once and whole, or not at all. It replaces what is at the path unless an option says
   * otherwise. Text is stored as UTF-8. A stream can be sent only once, so a write from a stream is never repeated.
   *
   * @returns the file as it is stored
   * @throws DfsError PRECONDITION_FAILED by `ifMatch` or `createOnly`; IS_A_DIRECTORY, NOT_A_DIRECTORY; INVALID_HEADER,
   *   METADATA_TOO_LARGE; NOT_ENOUGH_WORKERS, TOO_FEW_REPLICAS; CHECKSUM_MISMATCH if other bytes were stored than were sent
   * @example
   * ```ts
   * const file = await dfs.put("notes/today.txt", "hello", { contentType: "text/plain", meta: { mood: "good" } });
   * console.log(file.path, file.size, file.meta.mood); // notes/today.txt 5 good
   * ```
   */
  put(path: string, source: Source, options?: PutOptions): Promise<StoredFile>;
  /**
   * The same for large sources: what the cluster has once kept is never sent again, whatever breaks. A later call, of another
   * process too, goes on with an upload whose id was kept.
   *
   * @throws as `put`; FILE_CHANGED if the source has become shorter than what was sent of it
   * @example
   * ```ts
   * let id: string | undefined;
   * const large = new Blob([new Uint8Array(3_000_000)]);
   * const file = await dfs.putResumable("notes/large.bin", large, { onUpload: (uploadId) => (id = uploadId) });
   * console.log(file.size, id !== undefined); // 3000000 true
   * ```
   */
  putResumable(path: string, source: Blob, options?: ResumableOptions): Promise<StoredFile>;
  /**
   * Opens a file, or a range of it, for reading. The body is pulled: a slow reader holds the gateway back. It errors rather
   * than deliver a wrong byte.
   *
   * @throws DfsError NO_SUCH_FILE, IS_A_DIRECTORY; RANGE_NOT_SATISFIABLE; FILE_CHANGED by `ifMatch`; DATA_UNAVAILABLE if no
   *   good copy of some chunk answers. The body errors with FILE_CHANGED, CHECKSUM_MISMATCH or UNREACHABLE
   * @example
   * ```ts
   * await dfs.put("notes/today.txt", "hello");
   * const { file, body } = await dfs.get("notes/today.txt");
   * console.log(await new Response(body).text(), file.crc32); // hello 3610a686
   * const end = await dfs.get("notes/today.txt", { range: { start: -2 } });
   * console.log(await new Response(end.body).text(), end.offset, end.length); // lo 3 2
   * ```
   */
  get(path: string, options?: GetOptions): Promise<Download>;
  /**
   * What is known of a file, without its content.
   *
   * @throws DfsError NO_SUCH_FILE, IS_A_DIRECTORY
   * @example
   * ```ts
   * await dfs.put("notes/today.txt", "hello", { contentType: "text/plain" });
   * const { size, contentType } = await dfs.head("notes/today.txt");
   * console.log(size, contentType); // 5 text/plain
   * const refusal = await dfs.head("notes/nothing").catch((error) => error);
   * console.log(refusal.code, refusal.status); // NO_SUCH_FILE 404
   * ```
   */
  head(path: string, options?: CallOptions): Promise<StoredFile>;
  /**
   * All names that begin with `prefix`, in byte order of whole paths. Pages are asked for as they are needed: each is the state
   * at one moment, and none is older than the page before.
   *
   * @param prefix @default "": all names
   * @example
   * ```ts
   * await dfs.put("list/a.txt", "1");
   * await dfs.put("list/deep/b.txt", "22");
   * for await (const { path, kind } of dfs.list("list/")) console.log(path, kind);
   * // list/a.txt file
   * // list/deep/ directory
   * for await (const { path, size } of dfs.list("list/", { byDirectory: false })) console.log(path, size);
   * // list/a.txt 1
   * // list/deep/b.txt 2
   * ```
   */
  list(prefix?: string, options?: ListOptions): AsyncIterableIterator<ListedEntry>;
  /**
   * Deletes a file, an empty directory, or with `recursive` a whole directory.
   *
   * @throws DfsError NO_SUCH_FILE, DIRECTORY_NOT_EMPTY, PRECONDITION_FAILED by `ifMatch`
   * @example
   * ```ts
   * await dfs.put("old/a/b.txt", "x");
   * await dfs.remove("old", { recursive: true });
   * console.log((await dfs.head("old/a/b.txt").catch((error) => error)).code); // NO_SUCH_FILE
   * ```
   */
  remove(path: string, options?: RemoveOptions): Promise<void>;
  /**
   * Moves a file or a whole directory, in one step.
   *
   * @throws DfsError NO_SUCH_FILE, ALREADY_EXISTS, IS_A_DIRECTORY, NOT_A_DIRECTORY, RENAME_INTO_ITSELF
   * @example
   * ```ts
   * await dfs.put("drafts/one.txt", "x");
   * await dfs.rename("drafts", "final");
   * console.log((await dfs.head("final/one.txt")).size); // 1
   * ```
   */
  rename(from: string, to: string, options?: MoveOptions): Promise<void>;
  /**
   * Makes a second file, or directory, of the same chunks: no bytes move.
   *
   * @throws DfsError NO_SUCH_FILE, ALREADY_EXISTS (also of a copy onto itself), IS_A_DIRECTORY, NOT_A_DIRECTORY,
   *   TOO_MANY_ENTRIES
   * @example
   * ```ts
   * await dfs.put("notes/today.txt", "hello");
   * await dfs.copy("notes/today.txt", "notes/kept.txt", { overwrite: true });
   * console.log((await dfs.head("notes/kept.txt")).size); // 5
   * ```
   */
  copy(from: string, to: string, options?: MoveOptions): Promise<void>;
  /**
   * Makes a directory with all its parents; one that is there already is no error.
   *
   * @throws DfsError ALREADY_EXISTS, NOT_A_DIRECTORY if a file is in the way
   * @example
   * ```ts
   * await dfs.mkdir("empty/inside");
   * for await (const { path } of dfs.list("empty/")) console.log(path); // empty/inside/
   * ```
   */
  mkdir(path: string, options?: CallOptions): Promise<void>;
  /**
   * Where each chunk is, how good its copies are, and why they are there. The workers themselves are asked.
   *
   * @throws DfsError NO_SUCH_FILE; FILE_CHANGED if the file was replaced between two pages of chunks
   * @example
   * ```ts
   * await dfs.put("notes/today.txt", "hello");
   * const { chunks } = await dfs.explain("notes/today.txt");
   * console.log(chunks.length, chunks[0]?.length, chunks[0]?.crc32); // 1 5 3610a686
   * ```
   */
  explain(path: string, options?: CallOptions): Promise<Explanation>;
  /**
   * The cluster as its leader sees it, and the answering gateway's own account.
   *
   * @example
   * ```ts
   * const { leader, workers } = await dfs.cluster();
   * console.log(leader, workers.length); // master-1 3
   * ```
   */
  cluster(options?: CallOptions): Promise<Cluster>;
  /**
   * Sets what is wanted of a worker: `draining` (its copies move away), `maintenance` (away on purpose, no repair), `removed`
   * (gone for good), `active` (back).
   *
   * @throws DfsError NO_SUCH_WORKER
   * @example
   * ```ts
   * await dfs.setWorkerMode("worker-1", "maintenance");
   * await dfs.setWorkerMode("worker-1", "active");
   * ```
   */
  setWorkerMode(workerId: string, mode: WorkerMode, options?: CallOptions): Promise<void>;
  /**
   * Every master, by its own account. Answers also while no master leads.
   *
   * @example
   * ```ts
   * const { leader, masters } = await dfs.masters();
   * console.log(leader, masters.map(({ id, member }) => `${id} ${member}`).join()); // master-1 master-1 voter
   * ```
   */
  masters(options?: CallOptions): Promise<MasterGroup>;
  /**
   * Adds a master, removes one, or hands leadership over.
   *
   * @returns the masters afterwards
   * @throws DfsError NO_SUCH_MASTER; MASTERS_UNCHANGED if the group refused the change
   * @example
   * ```ts
   * const refusal = await dfs.orderMasters({ remove: "master-9" }).catch((error) => error);
   * console.log(refusal.code); // NO_SUCH_MASTER
   * ```
   */
  orderMasters(order: MastersOrder, options?: CallOptions): Promise<MasterGroup>;
  /**
   * The metadata as it is at one moment, to be kept in a file; `master --restore FILE` takes it. The content of files is on the
   * workers and not part of it.
   *
   * @example
   * ```ts
   * const bytes = await new Response(await dfs.backup()).bytes();
   * console.log(bytes.length > 1000); // true
   * ```
   */
  backup(options?: CallOptions): Promise<ReadableStream<Uint8Array>>;
}

/**
 * A client of one gateway. It holds no connection and no state: any number of calls may be under way at once.
 *
 * @throws DfsError INVALID_PARAMETER if `url` is no HTTP address
 * @example
 * ```ts
 * import { createClient } from "./gateway/client/client.ts";
 *
 * const dfs = createClient({ url: "http://127.0.0.1:8080" });
 * ```
 */
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
