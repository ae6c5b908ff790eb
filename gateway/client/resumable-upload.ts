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
  /** An upload begun before, to go on with. If the cluster no longer knows it, a new one is begun. */
  uploadId?: string;
  /** Told as soon as there is an upload to go on with: keep its id. */
  onUpload?: (uploadId: string) => void;
}

export async function uploadResumably(
  transport: Transport,
  path: string,
  source: Blob,
  options: ResumableOptions = {},
): Promise<StoredFile> {
  const { signal, onProgress, onUpload } = options;
  const what = `Writing ${path}`;
  filesPath(path);
  const sum = new RunningCrc32();
  let { id, offset } = (await known(transport, options.uploadId, source, sum, signal)) ?? (await open());
  onUpload?.(id);

  async function open(): Promise<OpenedUpload> {
    const { contentType, replication, chunkSize, createOnly, meta, idempotencyKey } = options;
    const response = await transport.request("/uploads", {
      method: "POST",
      what,
      headers: { "content-type": "application/json" },
      body: JSON.stringify({
        path,
        ...(contentType ? { contentType } : {}),
        ...Object.fromEntries(
          CONTENT_HEADER_FIELDS.flatMap(([field]) => (options[field] ? [[field, options[field]]] : [])),
        ),
        ...(replication === undefined ? {} : { replication }),
        ...(chunkSize === undefined ? {} : { chunkSize }),
        ...(createOnly ? { overwrite: false } : {}),
        ...(meta ? { meta } : {}),
      }),
      signal,
      idempotencyKey,
    });
    await dropBody(response);
    const location = response.headers.get("location");
    if (!location) throw new DfsError("UNEXPECTED_ANSWER", `${what}: the upload has no Location`, response.status);
    return { id: location.slice(location.lastIndexOf("/") + 1), offset: 0 };
  }

  const size = source.size;
  for (let failures = 0; offset < size; ) {
    await sum.seek(offset, source);
    onProgress?.(offset);
    const before = offset;
    try {
      const response = await transport.request(uploadPath(id), {
        method: "PATCH",
        what,
        headers: { "content-type": "application/octet-stream", "upload-offset": String(offset) },
        body: observed(source.slice(offset).stream(), (bytes) => {
          sum.update(bytes);
          onProgress?.(sum.position);
        }),
        signal,
        once: true,
      });
      await dropBody(response);
      offset = Number(response.headers.get("upload-offset"));
    } catch (error) {
      if (!mayGoOn(error) || failures >= transport.retries) throw error;
      await transport.pause(failures++, signal);
      offset = (await statusOf(transport, id, signal)).offset;
    }
    if (!Number.isSafeInteger(offset) || offset > size)
      throw new DfsError("FILE_CHANGED", `${what}: the upload stands at ${offset}, the source has ${size} bytes`);
    if (offset > before) failures = 0;
  }

  await sum.seek(size, source);
  const file = (await transport.json(uploadPath(id), {
    method: "POST",
    what,
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ size, crc32: formatCrc32(sum.crc32) }),
    signal,
  })) as StoredFile;
  if (file.size !== size || file.crc32 !== formatCrc32(sum.crc32))
    throw new DfsError("CHECKSUM_MISMATCH", `${path} was stored with CRC-32 ${file.crc32}, not the one sent`);
  return file;
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
