/** Reading a file: one stream of checked bytes, over as many connections as it takes. */
import { formatCrc32 } from "../../actors/rules/crc32.ts";
import { CONTENT_HEADER_FIELDS, META_PREFIX } from "../../actors/rules/file-headers.ts";
import type { StoredFile } from "./answers.ts";
import { RunningCrc32 } from "./checked-bytes.ts";
import { DfsError } from "./dfs-error.ts";
import { dropBody } from "./drop-body.ts";
import { filesPath } from "./file-url.ts";
import { connectionError, isPassing, type Transport } from "./transport.ts";

export interface GetOptions {
  /** Bytes `[start, end)`; `end` left out: to the end. A negative `start` counts from the end. @default the whole file */
  range?: { start: number; end?: number };
  /** Read this version or none: `FILE_CHANGED` if the file is another by now. @default the version that is there */
  ifMatch?: string;
  /**
   * Goes on with a download that was interrupted at `offset`, with the checksum up to there. Needs `ifMatch`: the rest
   * of another version would not fit.
   */
  resume?: { offset: number; crc32: number };
  /** Ends the call, and the body with an error: ABORTED. */
  signal?: AbortSignal;
  /** Called with the bytes received so far, those before `resume.offset` included. */
  onProgress?: (bytes: number) => void;
}

export interface Download {
  file: StoredFile;
  /** First byte of `body` within the file. */
  offset: number;
  /** Bytes in `body`. */
  length: number;
  /**
   * Every byte in order. It errors if the connection broke and could not be taken up again, if the file changed
   * meanwhile, or if a whole file's CRC-32 is not the stored one.
   */
  body: ReadableStream<Uint8Array<ArrayBuffer>>;
}

/** What the gateway says of a file with which nothing was said. */
const DEFAULT_CACHE_CONTROL = "no-cache";

/** Reads what the headers say of a file. */
export function storedFileOf(path: string, response: Response): StoredFile {
  const { headers } = response;
  const total = /\/(\d+)$/.exec(headers.get("content-range") ?? "")?.[1];
  const size = Number(total ?? headers.get("x-content-length") ?? headers.get("content-length") ?? Number.NaN);
  const textOf = (value: string): string => Buffer.from(value, "latin1").toString();
  const said = CONTENT_HEADER_FIELDS.flatMap(([field, name]) => {
    const value = headers.get(name);
    return value === null || (field === "cacheControl" && value === DEFAULT_CACHE_CONTROL)
      ? []
      : [[field, textOf(value)]];
  });
  const meta = [...headers].flatMap(([name, value]) =>
    name.startsWith(META_PREFIX) ? [[name.slice(META_PREFIX.length), textOf(value)]] : [],
  );
  const etag = headers.get("etag");
  const crc32 = headers.get("x-crc32");
  if (etag === null || crc32 === null)
    throw new DfsError("UNEXPECTED_ANSWER", `The answer for ${path} lacks ETag or x-crc32`, response.status);
  const modified = headers.get("last-modified");
  return {
    path,
    size,
    etag,
    crc32,
    contentType: headers.get("content-type") ?? "application/octet-stream",
    ...Object.fromEntries(said),
    modified: modified ? new Date(modified).toISOString() : "",
    meta: Object.fromEntries(meta),
  };
}

export async function download(transport: Transport, path: string, options: GetOptions = {}): Promise<Download> {
  const left = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, left.signal]) : left.signal;
  try {
    return await begin(new VersionReader(transport, path, signal), options, () => left.abort());
  } catch (error) {
    left.abort();
    throw error;
  }
}

/** Requests for a file, of which one version is meant. */
class VersionReader {
  readonly transport: Transport;
  readonly path: string;
  /** Ends every request, under way or still to come. */
  readonly signal: AbortSignal;
  /** For messages. */
  readonly what: string;

  constructor(transport: Transport, path: string, signal: AbortSignal) {
    this.transport = transport;
    this.path = path;
    this.signal = signal;
    this.what = `Reading ${path}`;
  }

  /** @throws DfsError FILE_CHANGED if `headers` name a version that is not there any more */
  async open(headers: Record<string, string>): Promise<Response> {
    const { transport, path, what, signal } = this;
    try {
      return await transport.request(filesPath(path), { what, headers, signal });
    } catch (error) {
      if (error instanceof DfsError && error.code === "PRECONDITION_FAILED") throw changed(path);
      throw error;
    }
  }

  /** What the first answer says of the file. Some servers and proxies stream without a Content-Length; HEAD has it. */
  async described(response: Response): Promise<StoredFile> {
    const { transport, path, what, signal } = this;
    const file = storedFileOf(path, response);
    if (!Number.isNaN(file.size)) return file;
    const told = storedFileOf(path, await transport.request(filesPath(path), { method: "HEAD", what, signal }));
    if (told.etag !== file.etag) throw changed(path);
    return { ...file, size: told.size };
  }
}

/** @param leave ends every request of `version` */
async function begin(
  version: VersionReader,
  { range, resume, ifMatch, onProgress }: GetOptions,
  leave: () => void,
): Promise<Download> {
  if (resume && ifMatch === undefined) throw new Error("resume needs ifMatch: the version that it belongs to");
  const start = resume?.offset ?? range?.start ?? 0;
  const isPart = start !== 0 || range?.end !== undefined;
  const first: Record<string, string> = {};
  if (ifMatch !== undefined) first["if-match"] = ifMatch;
  if (isPart) first.range = rangeHeader(start, range?.end);
  const response = await version.open(first);
  const file = await version.described(response);
  if (ifMatch !== undefined && file.etag !== ifMatch) throw changed(version.path);
  const part = /^bytes (\d+)-(\d+)\//.exec(response.headers.get("content-range") ?? "");
  if (isPart && !part) throw changed(version.path);
  const offset = part ? Number(part[1]) : 0;
  const end = part ? Number(part[2]) + 1 : file.size;
  const sum = new RunningCrc32();
  if (resume) Object.assign(sum, { position: resume.offset, crc32: resume.crc32 });
  else sum.position = offset;
  const isWhole = (resume !== undefined || offset === 0) && end === file.size;
  const reader = response.body?.getReader() ?? null;
  const bytes = new CheckedDownload({ version, file, end, isWhole, sum, reader, leave, onProgress });
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>(
    { pull: (controller) => bytes.pull(controller), cancel: (reason) => bytes.cancel(reason) },
    { highWaterMark: 0 },
  );
  return { file, offset, length: end - offset, body };
}

interface DownloadParts extends Pick<GetOptions, "onProgress"> {
  version: VersionReader;
  file: StoredFile;
  /** Behind the last byte that is wanted. */
  end: number;
  /** The bytes begin with the file's first and end with its last: their CRC-32 can be compared. */
  isWhole: boolean;
  /** Of the bytes before the first that comes. */
  sum: RunningCrc32;
  reader: ReadableStreamDefaultReader<Uint8Array> | null;
  leave: () => void;
}

/** The bytes of one download, over as many connections as it takes. */
class CheckedDownload {
  readonly #parts: DownloadParts;
  #reader: DownloadParts["reader"];
  #failures = 0;

  constructor(parts: DownloadParts) {
    this.#parts = parts;
    this.#reader = parts.reader;
  }

  async pull(controller: ReadableStreamDefaultController<Uint8Array<ArrayBuffer>>): Promise<void> {
    const { version, end, sum, onProgress } = this.#parts;
    const { transport, what, signal } = version;
    while (sum.position < end) {
      if (signal.aborted) throw connectionError(signal.reason, what, transport.url, signal);
      this.#reader ??= await this.#reopened();
      try {
        const bytes = await this.#next();
        onProgress?.(sum.position);
        return controller.enqueue(bytes);
      } catch (cause) {
        this.#reader = null;
        const error = connectionError(cause, what, transport.url, signal);
        if (this.#failures >= transport.retries || !isPassing(error)) throw error;
        await transport.pause(this.#failures++, signal);
      }
    }
    await this.#reader?.cancel().catch(() => undefined);
    this.#checkWhole();
    controller.close();
  }

  async #next(): Promise<Uint8Array<ArrayBuffer>> {
    const { version, end, sum } = this.#parts;
    const next = await this.#reader?.read();
    if (next === undefined || next.done)
      throw new DfsError("UNREACHABLE", `${version.what}: the connection ended ${end - sum.position} bytes early`);
    this.#failures = 0;
    sum.update(next.value);
    if (sum.position > end)
      throw new DfsError("UNEXPECTED_ANSWER", `${version.what}: more bytes came than were announced`);
    return next.value as Uint8Array<ArrayBuffer>;
  }

  /** The rest of the same version. @throws DfsError FILE_CHANGED */
  async #reopened(): Promise<DownloadParts["reader"]> {
    const { version, file, end, sum } = this.#parts;
    const rest = await version.open({ range: rangeHeader(sum.position, end), "if-match": file.etag });
    if (rest.status === 206 && rest.headers.get("etag") === file.etag) return rest.body?.getReader() ?? null;
    await dropBody(rest);
    throw changed(version.path);
  }

  #checkWhole(): void {
    const { version, file, isWhole, sum } = this.#parts;
    if (!isWhole || formatCrc32(sum.crc32) === file.crc32) return;
    throw new DfsError(
      "CHECKSUM_MISMATCH",
      `${version.path} arrived with CRC-32 ${formatCrc32(sum.crc32)}; stored is ${file.crc32}`,
    );
  }

  cancel(reason: unknown): Promise<void> | undefined {
    this.#parts.leave();
    // What is under way ends with an error then, which the caller who left need not hear.
    return this.#reader?.cancel(reason).catch(() => undefined);
  }
}

const rangeHeader = (start: number, end?: number): string =>
  start < 0 ? `bytes=${start}` : `bytes=${start}-${end === undefined ? "" : end - 1}`;

const changed = (path: string): DfsError =>
  new DfsError("FILE_CHANGED", `${path} was replaced by another version meanwhile`, 412);
