/** Sending a large file: what the cluster has once kept is never sent again, whatever breaks. */
import { formatCrc32 } from "../../actors/rules/crc32.ts";
import { CONTENT_HEADER_FIELDS } from "../../actors/rules/file-headers.ts";
import type { OpenedUpload, StoredFile } from "./answers.ts";
import type { PutOptions } from "./call-options.ts";
import { observed, RunningCrc32 } from "./checked-bytes.ts";
import { DfsError } from "./dfs-error.ts";
import { dropBody } from "./drop-body.ts";
import { filesPath } from "./file-url.ts";
import { isPassing, type Transport } from "./transport.ts";

export interface ResumableOptions extends Omit<PutOptions, "ifMatch"> {
  /** An upload begun before, to go on with. If the cluster no longer knows it, or holds other bytes, a new one is begun. */
  uploadId?: string;
  /** Called with the id of the upload, as soon as there is one: keep it to go on later. */
  onUpload?: (uploadId: string) => void;
}

export async function uploadResumably(
  transport: Transport,
  path: string,
  source: Blob,
  options: ResumableOptions = {},
): Promise<StoredFile> {
  filesPath(path);
  return new ResumableUpload(transport, path, source, options).run();
}

class ResumableUpload {
  readonly #transport: Transport;
  readonly #path: string;
  readonly #source: Blob;
  readonly #options: ResumableOptions;
  /** For messages. */
  readonly #what: string;
  readonly #sum = new RunningCrc32();

  constructor(transport: Transport, path: string, source: Blob, options: ResumableOptions) {
    this.#transport = transport;
    this.#path = path;
    this.#source = source;
    this.#options = options;
    this.#what = `Writing ${path}`;
  }

  async run(): Promise<StoredFile> {
    const { uploadId, signal, onUpload } = this.#options;
    const earlier = await known(this.#transport, uploadId, this.#source, this.#sum, signal);
    const upload = earlier ?? (await this.#open());
    onUpload?.(upload.id);
    await this.#send(upload);
    return this.#complete(upload.id);
  }

  async #open(): Promise<OpenedUpload> {
    const { signal, idempotencyKey } = this.#options;
    const response = await this.#transport.request("/uploads", {
      method: "POST",
      what: this.#what,
      headers: { "content-type": "application/json" },
      body: JSON.stringify(this.#order()),
      signal,
      idempotencyKey,
    });
    await dropBody(response);
    const location = response.headers.get("location");
    if (!location)
      throw new DfsError("UNEXPECTED_ANSWER", `${this.#what}: the upload has no Location`, response.status);
    return { id: location.slice(location.lastIndexOf("/") + 1), offset: 0 };
  }

  /** What opens an upload: what was left out is left to the gateway. */
  #order(): Record<string, unknown> {
    const { contentType, replication, chunkSize, createOnly, meta } = this.#options;
    const said = CONTENT_HEADER_FIELDS.flatMap(([field]) =>
      this.#options[field] ? [[field, this.#options[field]]] : [],
    );
    return {
      path: this.#path,
      ...(contentType ? { contentType } : {}),
      ...Object.fromEntries(said),
      ...(replication === undefined ? {} : { replication }),
      ...(chunkSize === undefined ? {} : { chunkSize }),
      ...(createOnly ? { overwrite: false } : {}),
      ...(meta ? { meta } : {}),
    };
  }

  /** Sends what the cluster does not have yet, as often as connections break. */
  async #send({ id, offset: start }: OpenedUpload): Promise<void> {
    const { size } = this.#source;
    let failures = 0;
    for (let offset = start; offset < size; ) {
      await this.#sum.seek(offset, this.#source);
      this.#options.onProgress?.(offset);
      const before = offset;
      try {
        offset = await this.#append(id, offset);
      } catch (error) {
        if (!mayGoOn(error) || failures >= this.#transport.retries) throw error;
        await this.#transport.pause(failures++, this.#options.signal);
        offset = (await statusOf(this.#transport, id, this.#options.signal)).offset;
      }
      if (!Number.isSafeInteger(offset) || offset > size)
        throw new DfsError(
          "FILE_CHANGED",
          `${this.#what}: the upload stands at ${offset}, the source has ${size} bytes`,
        );
      if (offset > before) failures = 0;
    }
  }

  /** @returns where the upload stands then */
  async #append(id: string, offset: number): Promise<number> {
    const { signal, onProgress } = this.#options;
    const response = await this.#transport.request(uploadPath(id), {
      method: "PATCH",
      what: this.#what,
      headers: { "content-type": "application/octet-stream", "upload-offset": String(offset) },
      body: observed(this.#source.slice(offset).stream(), (bytes) => {
        this.#sum.update(bytes);
        onProgress?.(this.#sum.position);
      }),
      signal,
      once: true,
    });
    await dropBody(response);
    return Number(response.headers.get("upload-offset"));
  }

  async #complete(id: string): Promise<StoredFile> {
    const { size } = this.#source;
    await this.#sum.seek(size, this.#source);
    const crc32 = formatCrc32(this.#sum.crc32);
    const file = (await this.#transport.json(uploadPath(id), {
      method: "POST",
      what: this.#what,
      headers: { "content-type": "application/json" },
      body: JSON.stringify({ size, crc32 }),
      signal: this.#options.signal,
    })) as StoredFile;
    if (file.size === size && file.crc32 === crc32) return file;
    throw new DfsError("CHECKSUM_MISMATCH", `${this.#path} was stored with CRC-32 ${file.crc32}, not the one sent`);
  }
}

const uploadPath = (id: string): string => `/uploads/${encodeURIComponent(id)}`;

/** Breaks of the connection, passing refusals, and offsets that ran apart when a break hid how much was kept. */
const mayGoOn = (error: unknown): boolean =>
  isPassing(error) ||
  (error instanceof DfsError && ["UPLOAD_OFFSET_MISMATCH", "UPLOAD_BUSY", "BODY_INCOMPLETE"].includes(error.code));

/** A request of ours that still hangs at the gateway is ended by HEAD, so that what came of it counts. */
async function statusOf(transport: Transport, id: string, signal?: AbortSignal) {
  await transport.request(uploadPath(id), { method: "HEAD", what: `Settling upload ${id}`, signal }).catch((error) => {
    if (!(error instanceof DfsError && error.code === "UPLOAD_BUSY")) throw error;
  });
  return (await transport.json(uploadPath(id), { what: `Asking for upload ${id}`, signal })) as {
    offset: number;
    crc32?: string;
  };
}

/** The earlier upload, if the cluster still has it and its bytes are this source's; null otherwise. */
async function known(
  transport: Transport,
  id: string | undefined,
  source: Blob,
  sum: RunningCrc32,
  signal?: AbortSignal,
): Promise<OpenedUpload | null> {
  if (id === undefined) return null;
  try {
    const { offset, crc32 } = await statusOf(transport, id, signal);
    if (offset <= source.size) await sum.seek(offset, source);
    if (offset <= source.size && (crc32 === undefined || crc32 === formatCrc32(sum.crc32))) return { id, offset };
    await transport.request(uploadPath(id), { method: "DELETE", what: `Dropping upload ${id}`, signal });
    return null;
  } catch (error) {
    if (error instanceof DfsError && error.code === "NO_SUCH_UPLOAD") return null;
    throw error;
  }
}
