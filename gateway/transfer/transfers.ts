/** Transfers of bytes in the name of one principal. */
import type { Principal } from "../access/principal.ts";
import type { Consistency } from "../ports/namespace.ts";
import type { Activity, AppendOptions, FileRequest, PutRequest, Transfers } from "../ports/transfers.ts";
import type { Downloads } from "./downloads.ts";
import type { Uploads } from "./uploads.ts";

/** One for all principals of a gateway. */
export interface TransferParts {
  uploads: Uploads;
  downloads: Downloads;
  activity(): Activity;
}

export class GatewayTransfers implements Transfers {
  readonly #parts: TransferParts;
  readonly #by: Principal;

  constructor(parts: TransferParts, by: Principal) {
    this.#parts = parts;
    this.#by = by;
  }

  put(request: PutRequest) {
    return this.#parts.uploads.put(this.#by, request);
  }

  openUpload(request: FileRequest) {
    return this.#parts.uploads.open(this.#by, request);
  }

  uploadStatus(uploadId: number) {
    return this.#parts.uploads.status(uploadId);
  }

  settleUpload(uploadId: number) {
    return this.#parts.uploads.settle(uploadId);
  }

  appendUpload(uploadId: number, offset: number, body: ReadableStream<Uint8Array> | null, options?: AppendOptions) {
    return this.#parts.uploads.append(this.#by, uploadId, offset, body, options);
  }

  completeUpload(uploadId: number, sizeBytes: number, options?: { expectedCrc32?: number; idempotencyKey?: string }) {
    return this.#parts.uploads.complete(this.#by, uploadId, sizeBytes, options);
  }

  abortUpload(uploadId: number) {
    return this.#parts.uploads.abort(this.#by, uploadId);
  }

  openFile(path: string, options?: { etag?: string; consistency?: Consistency }) {
    return this.#parts.downloads.open(this.#by, path, options);
  }

  activity() {
    return this.#parts.activity();
  }
}
