/** Uploads from request to commit: whole files in one go, and uploads that outlive connections. */
import { createActor } from "xstate";
import type { CommandOf } from "../../actors/messages/commands.ts";
import type { Config } from "../../actors/messages/config.ts";
import { Refusal } from "../../actors/messages/errors.ts";
import { MAX_LIST, type StoredChunk } from "../../actors/messages/primitives.ts";
import { inspector } from "../../actors/node/inspector.ts";
import { formatCrc32 } from "../../actors/rules/crc32.ts";
import { keptHeaders } from "../../actors/rules/file-headers.ts";
import type { ExecuteOptions } from "../cluster/command-session.ts";
import type { PlacedChunk } from "../cluster/grants.ts";
import type { Patience } from "../cluster/patience.ts";
import type { FileRequest, HashName, PutOutcome, PutRequest, UploadActivity, UploadInfo } from "../data-path-api.ts";
import { BodyReader } from "./body-reader.ts";
import { Slots } from "./slots.ts";
import { type UploadEvent, uploadMachine } from "./upload.machine.ts";
import { type BodyPlan, BodyWriter, type WriterTools, type WrittenBody } from "./writer.ts";

/**
 * A file of up to this many chunks is committed in one command; a longer one is staged on the way. With an idempotency
 * key as many as fit a command are, because a repeated request would stage under another upload id, which the masters
 * rightly take for another request.
 */
const chunksAtOnce = (idempotencyKey: string | undefined): number => (idempotencyKey === undefined ? 8 : MAX_LIST);
/** A commit waits this long for chunks that lost copies since they were staged: the leader has them copied meanwhile. */
const REPAIR_PATIENCE = { totalMs: 30_000, stepMs: 500 };
const DEFAULT_CONTENT_TYPE = "application/octet-stream";

export interface UploadCounters {
  bytesIn: number;
  uploadsDone: number;
  uploadsFailed: number;
  writeFailovers: number;
}

type Settings = Pick<
  Config,
  | "route"
  | "blocksInFlight"
  | "blockSizeBytes"
  | "chunkSizeBytes"
  | "replicationFactor"
  | "minReplicas"
  | "uploadLeaseMs"
  | "limits"
>;

/** What one run of bytes through the writer is for. */
interface Run<T> {
  id: string;
  path: string;
  plan: Pick<BodyPlan, "copies" | "chunkSizeBytes" | "hashes" | "keepPartial" | "onSealed">;
  commit(written: WrittenBody): Promise<T>;
}

type Attributes = Omit<CommandOf<"PUT_FILE">, "type" | "chunks" | "sizeBytes" | "crc32" | "sha256">;

export class Uploads {
  readonly counters: UploadCounters = { bytesIn: 0, uploadsDone: 0, uploadsFailed: 0, writeFailovers: 0 };
  readonly #tools: WriterTools;
  readonly #config: Settings;
  readonly #slots: Slots;
  readonly #active = new Map<string, { activity(): UploadActivity; cancel(reason: Error): void }>();
  /** Resumable uploads that a request is writing to. */
  readonly #appending = new Set<number>();
  #nextId = 1;

  constructor(tools: WriterTools, config: Settings) {
    this.#tools = tools;
    this.#config = config;
    this.#slots = new Slots("uploads", config.limits.maxUploads);
  }

  activities(): UploadActivity[] {
    return [...this.#active.values()].map(({ activity }) => activity());
  }

  /** Fails all that is under way. */
  close(): void {
    for (const { cancel } of this.#active.values()) cancel(new Refusal("OVERLOADED", "The gateway is stopping"));
  }

  async put(request: PutRequest): Promise<PutOutcome> {
    const attributes = this.#attributes(request);
    const { idempotencyKey } = request;
    const { masters } = this.#tools;
    let held: { chunk: StoredChunk; placed: PlacedChunk }[] = [];
    let uploadId: number | null = null;
    let stagedBytes = 0;
    const release = () => {
      for (const { placed } of held) placed.release();
      held = [];
    };
    const stage = async () => {
      uploadId ??= await this.#open(request, attributes, { underWay: true });
      const chunks = held.map(({ chunk }) => chunk);
      stagedBytes = await this.#stage(uploadId, stagedBytes, chunks);
      release();
      return uploadId;
    };
    try {
      return await this.#run(request, {
        id: `put-${this.#nextId++}`,
        path: request.path,
        plan: {
          copies: attributes,
          chunkSizeBytes: this.#chunkSize(request),
          hashes: hashesFor(request),
          keepPartial: false,
          onSealed: async (chunk, placed) => {
            if (held.length === chunksAtOnce(idempotencyKey)) await stage();
            held.push({ chunk, placed });
          },
        },
        commit: async ({ sizeBytes, crc32, hashes }) => {
          checkDigests(request, crc32, hashes);
          const sha256 = hashes.get("sha256") ?? null;
          const underWay = sizeBytes > this.#config.blockSizeBytes;
          if (uploadId === null) {
            const chunks = held.map(({ chunk }) => chunk);
            const command = { type: "PUT_FILE", ...attributes, chunks, sizeBytes, crc32, sha256 } as const;
            return masters.execute<CommandOf<"PUT_FILE">>(command, { idempotencyKey, underWay });
          }
          if (held.length > 0) await stage();
          const command = { type: "COMMIT_UPLOAD", uploadId, sizeBytes, crc32, sha256 } as const;
          return this.#commit(command, { idempotencyKey, underWay });
        },
      });
    } catch (error) {
      if (uploadId !== null && !isOutcomeUnknown(error))
        masters.execute({ type: "ABORT_UPLOAD", uploadId }).catch(() => {});
      throw error;
    } finally {
      release();
    }
  }

  async open(request: FileRequest): Promise<UploadInfo> {
    const uploadId = await this.#open(request, this.#attributes(request), {
      idempotencyKey: request.idempotencyKey,
    });
    return this.status(uploadId);
  }

  async status(uploadId: number, patience?: Patience): Promise<UploadInfo> {
    const upload = await this.#standing(uploadId, patience);
    if (!upload) throw new Refusal("NO_SUCH_UPLOAD", `There is no upload ${uploadId}`, { uploadId });
    const { path, offset, crc32, chunkCount, chunkSizeBytes, replicationFactor, expiresInMs } = upload;
    return { uploadId, path, offset, crc32, chunkCount, chunkSizeBytes, replicationFactor, expiresInMs };
  }

  async append(
    uploadId: number,
    offset: number,
    body: ReadableStream<Uint8Array> | null,
    options: { lengthBytes?: number; signal?: AbortSignal } = {},
  ): Promise<UploadInfo> {
    if (this.#appending.has(uploadId))
      throw new Refusal("UPLOAD_BUSY", `Another request is writing to upload ${uploadId}`, { uploadId });
    this.#appending.add(uploadId);
    try {
      const upload = await this.#standing(uploadId);
      if (!upload) throw new Refusal("NO_SUCH_UPLOAD", `There is no upload ${uploadId}`, { uploadId });
      requireOffset(uploadId, offset, upload.offset);
      let stagedTo = offset;
      await this.#run<void>(
        { body, ...options },
        {
          id: `upload-${uploadId}`,
          path: upload.path,
          plan: {
            copies: upload,
            chunkSizeBytes: upload.chunkSizeBytes,
            hashes: [],
            keepPartial: true,
            onSealed: async (chunk, placed) => {
              stagedTo = await this.#stage(uploadId, stagedTo, [chunk]);
              placed.release();
            },
          },
          commit: async () => {},
        },
      );
      return await this.status(uploadId, { underWay: true });
    } finally {
      this.#appending.delete(uploadId);
    }
  }

  async complete(
    uploadId: number,
    sizeBytes: number,
    { expectedCrc32, idempotencyKey }: { expectedCrc32?: number; idempotencyKey?: string } = {},
  ): Promise<PutOutcome> {
    const upload = await this.#standing(uploadId);
    // A repeated request finds its upload committed already; its key brings back the answer of then.
    if (!upload && idempotencyKey === undefined)
      throw new Refusal("NO_SUCH_UPLOAD", `There is no upload ${uploadId}`, { uploadId });
    if (upload) {
      requireOffset(uploadId, sizeBytes, upload.offset);
      checkDigests({ expectedCrc32 }, upload.crc32);
    }
    const crc32 = expectedCrc32 ?? null;
    const command = { type: "COMMIT_UPLOAD", uploadId, sizeBytes, crc32, sha256: null } as const;
    return this.#commit(command, { idempotencyKey });
  }

  async #commit(command: CommandOf<"COMMIT_UPLOAD">, options: ExecuteOptions): Promise<PutOutcome> {
    for (const end = performance.now() + REPAIR_PATIENCE.totalMs; ; await Bun.sleep(REPAIR_PATIENCE.stepMs))
      try {
        return await this.#tools.masters.execute<CommandOf<"COMMIT_UPLOAD">>(command, options);
      } catch (error) {
        const isShort = error instanceof Refusal && error.code === "TOO_FEW_REPLICAS";
        if (!isShort || performance.now() > end) throw error;
      }
  }

  async abort(uploadId: number): Promise<void> {
    await this.#tools.masters.execute({ type: "ABORT_UPLOAD", uploadId });
  }

  /** Runs a body through a writer, with an `upload` machine that says how far it is. */
  async #run<T>(
    {
      body,
      lengthBytes,
      signal,
    }: { body: ReadableStream<Uint8Array> | null; lengthBytes?: number; signal?: AbortSignal },
    { id, path, plan, commit }: Run<T>,
  ): Promise<T> {
    this.#slots.refuseUnlessFree();
    const input = { id, path, lengthBytes: lengthBytes ?? null, startedAt: Date.now() };
    const actor = createActor(uploadMachine, { id: `upload:${id}`, input, inspect: inspector() }).start();
    const tell = (event: UploadEvent) => actor.send(event);
    const reader = new BodyReader(body, lengthBytes, signal);
    const activity = (): UploadActivity => {
      const { value, context } = actor.getSnapshot();
      const { chunkIndex, bytes, workers, startedAt } = context;
      return { ...input, state: value, chunkIndex, bytes, workers, startedAt };
    };
    this.#slots.take();
    this.#active.set(id, { activity, cancel: (reason) => reader.fail(reason) });
    try {
      const written = await new BodyWriter(
        this.#tools,
        {
          ...plan,
          tell,
          onBytes: (bytes) => {
            this.counters.bytesIn += bytes;
          },
          onWorkerLost: () => {
            this.counters.writeFailovers++;
          },
        },
        reader,
      ).run();
      const outcome = await commit(written);
      tell({ type: "COMMITTED" });
      this.counters.uploadsDone++;
      return outcome;
    } catch (error) {
      const { code = "INTERNAL", message } = error as Refusal;
      tell({ type: "FAILED", code, message });
      this.counters.uploadsFailed++;
      throw error;
    } finally {
      this.#active.delete(id);
      this.#slots.give();
      actor.stop();
    }
  }

  #attributes(request: FileRequest): Attributes {
    const replicationFactor = request.replicationFactor ?? this.#config.replicationFactor;
    return {
      path: request.path,
      contentType: request.contentType ?? DEFAULT_CONTENT_TYPE,
      userMetadata: keptHeaders(request.contentHeaders, request.userMetadata),
      condition: request.condition ?? {},
      replicationFactor,
      minReplicas: Math.min(this.#config.minReplicas, replicationFactor),
    };
  }

  #chunkSize({ chunkSizeBytes = this.#config.chunkSizeBytes }: FileRequest): number {
    const { blockSizeBytes } = this.#config;
    return Math.ceil(chunkSizeBytes / blockSizeBytes) * blockSizeBytes;
  }

  async #open(request: FileRequest, attributes: Attributes, options: ExecuteOptions): Promise<number> {
    const { uploadLeaseMs: leaseMs } = this.#config;
    const chunkSizeBytes = this.#chunkSize(request);
    const command = { type: "OPEN_UPLOAD", ...attributes, chunkSizeBytes, leaseMs, sha256: null } as const;
    return (await this.#tools.masters.execute<CommandOf<"OPEN_UPLOAD">>(command, options)).uploadId;
  }

  /** @returns where the upload stands then */
  async #stage(uploadId: number, offset: number, chunks: StoredChunk[]): Promise<number> {
    const { uploadLeaseMs: leaseMs } = this.#config;
    const command = { type: "STAGE_CHUNKS", uploadId, offset, chunks, leaseMs } as const;
    return (await this.#tools.masters.execute<CommandOf<"STAGE_CHUNKS">>(command, { underWay: true })).offset;
  }

  async #standing(uploadId: number, patience?: Patience) {
    return (await this.#tools.masters.ask({ type: "UPLOAD_STATUS", uploadId }, patience)).upload;
  }
}

const isOutcomeUnknown = (error: unknown): boolean => error instanceof Refusal && error.code === "OUTCOME_UNKNOWN";

function requireOffset(uploadId: number, asked: number, offset: number): void {
  if (asked !== offset)
    throw new Refusal("UPLOAD_OFFSET_MISMATCH", `Upload ${uploadId} stands at ${offset}, not ${asked}`, { offset });
}

function hashesFor({ wantSha256 = false, expectedHashes }: PutRequest): HashName[] {
  return [...new Set([...(wantSha256 ? ["sha256" as const] : []), ...(expectedHashes?.keys() ?? [])])];
}

/** @throws DIGEST_MISMATCH */
function checkDigests(
  { expectedCrc32, expectedHashes }: Pick<PutRequest, "expectedCrc32" | "expectedHashes">,
  crc32: number,
  hashes: ReadonlyMap<HashName, string> = new Map(),
): void {
  if (expectedCrc32 !== undefined && expectedCrc32 !== crc32)
    throw new Refusal(
      "DIGEST_MISMATCH",
      `The bytes have CRC-32 ${formatCrc32(crc32)}, not ${formatCrc32(expectedCrc32)}`,
      {
        crc32: formatCrc32(crc32),
      },
    );
  for (const [name, expected] of expectedHashes ?? []) {
    const hash = hashes.get(name) ?? "";
    if (hash !== expected)
      throw new Refusal("DIGEST_MISMATCH", `The bytes have ${name.toUpperCase()} ${hash}, not ${expected}`, {
        [name]: hash,
      });
  }
}
