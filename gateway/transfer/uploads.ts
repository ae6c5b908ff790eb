/** Uploads from request to commit: whole files in one go, and uploads that outlive connections. */
import type { StoredChunk } from "../../actors/messages/chunk.ts";
import type { CommandOf } from "../../actors/messages/commands.ts";
import type { Config } from "../../actors/messages/config.ts";
import { isOutcomeUnknown, Refusal } from "../../actors/messages/errors.ts";
import { MAX_LIST } from "../../actors/messages/primitives.ts";
import { keptHeaders } from "../../actors/rules/file-headers.ts";
import { nameOf, type Principal } from "../access/principal.ts";
import type { ExecuteOptions } from "../nodes/command-session.ts";
import type { PlacedChunk } from "../nodes/grants.ts";
import type { Patience } from "../nodes/patience.ts";
import type {
  AppendOptions,
  FileRequest,
  PutOutcome,
  PutRequest,
  UploadActivity,
  UploadInfo,
} from "../ports/transfers.ts";
import { BodyReader } from "./body-reader.ts";
import { checkDigests, hashesFor } from "./digest-check.ts";
import { Slots } from "./slots.ts";
import { type Attributes, TinyPuts } from "./tiny-puts.ts";
import type { UploadEvent } from "./upload.machine.ts";
import { UploadProgress } from "./upload-progress.ts";
import { type Turn, takenOver, UploadTurns } from "./upload-turns.ts";
import { type BodyPlan, BodyWriter, type WriterTools, type WrittenBody } from "./writer.ts";

/**
 * A file of up to this many chunks is committed in one command; a longer one is staged on the way. With an idempotency
 * key a file of as many chunks as fit a command is, because a repeated request would stage under another upload id, which
 * the masters rightly take for another request.
 */
const chunksAtOnce = (idempotencyKey: string | undefined): number => (idempotencyKey === undefined ? 8 : MAX_LIST);
/** A commit waits this long for chunks that lost copies since they were staged: the leader has them copied meanwhile. */
const REPAIR_PATIENCE = { totalMs: 30_000, stepMs: 500 };
/** A body that is silent for this long is taken for broken off. */
const SILENT_AFTER_MS = 60_000;
/** An upload that is under way for this long is worth a look. */
const LASTING_MS = 1000;
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
  | "tinyFileBytes"
  | "limits"
>;

/** Where the bytes of one run through the writer come from. */
interface Source {
  reader: BodyReader;
  /** The run ends with it. */
  turn?: Turn;
}

interface UnderWay {
  progress: UploadProgress;
  reader: BodyReader;
}

/** What the run is for. */
interface Run<T> {
  by: Principal;
  id: string;
  path: string;
  /** Stores the body without a writer. null: it is to be written in chunks. */
  atOnce?(tell: BodyPlan["tell"]): Promise<T | null>;
  plan: Pick<BodyPlan, "copies" | "chunkSizeBytes" | "hashes" | "keepPartial" | "onSealed">;
  commit(written: WrittenBody): Promise<T>;
}

export class Uploads {
  readonly counters: UploadCounters = { bytesIn: 0, uploadsDone: 0, uploadsFailed: 0, writeFailovers: 0 };
  readonly #tools: WriterTools;
  readonly #config: Settings;
  readonly #slots: Slots;
  readonly #active = new Map<string, UnderWay>();
  #lookout: Timer | null = null;
  readonly #turns = new UploadTurns();
  readonly #silentAfterMs: number;
  readonly #tiny: TinyPuts;
  #nextId = 1;

  /** @param silentAfterMs a resumable upload's body that brings nothing for this long counts as broken off */
  constructor(tools: WriterTools, config: Settings, silentAfterMs = SILENT_AFTER_MS) {
    this.#tools = tools;
    this.#config = config;
    this.#slots = new Slots("uploads", config.limits.maxUploads);
    this.#silentAfterMs = silentAfterMs;
    this.#tiny = new TinyPuts(tools.masters, config.tinyFileBytes);
  }

  activities(): UploadActivity[] {
    return [...this.#active.values()].map(({ progress: { input, snapshot } }) => {
      const { chunkIndex, bytes, workers, startedAt } = snapshot.context;
      return { ...input, state: snapshot.value, chunkIndex, bytes, workers, startedAt };
    });
  }

  /** Fails all uploads under way. */
  close(): void {
    for (const { reader } of this.#active.values()) reader.fail(new Refusal("OVERLOADED", "The gateway is stopping"));
  }

  async put(by: Principal, request: PutRequest): Promise<PutOutcome> {
    const attributes = this.#attributes(request);
    const reader = new BodyReader(request.body, request.lengthBytes, request.signal);
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
      uploadId ??= await this.#open(request, attributes, { by, underWay: true });
      const chunks = held.map(({ chunk }) => chunk);
      stagedBytes = await this.#stage(by, uploadId, stagedBytes, chunks);
      release();
      return uploadId;
    };
    try {
      return await this.#run(
        { reader },
        {
          by,
          id: `put-${this.#nextId++}`,
          path: request.path,
          atOnce: (tell) => this.#putTiny(by, request, attributes, reader, tell),
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
              return masters.execute<CommandOf<"PUT_FILE">>(command, { by, idempotencyKey, underWay });
            }
            if (held.length > 0) await stage();
            const command = { type: "COMMIT_UPLOAD", uploadId, sizeBytes, crc32, sha256 } as const;
            return this.#commit(command, { by, idempotencyKey, underWay });
          },
        },
      );
    } catch (error) {
      if (uploadId !== null && !isOutcomeUnknown(error))
        masters.execute({ type: "ABORT_UPLOAD", uploadId }, { by }).catch(() => {});
      throw error;
    } finally {
      release();
    }
  }

  /** A file that the metadata takes needs no chunk and no worker. @returns null if it does not take it */
  async #putTiny(
    by: Principal,
    request: PutRequest,
    attributes: Attributes,
    reader: BodyReader,
    tell: (event: UploadEvent) => void,
  ): Promise<PutOutcome | null> {
    if (!this.#tiny.isWorthReading(request.lengthBytes)) return null;
    const content = await reader.peek(this.#tiny.mostBytes);
    const offered = () => tell({ type: "BODY_ENDED" });
    const outcome = content && (await this.#tiny.put(content, request, attributes, { by, offered }));
    this.counters.bytesIn += outcome?.file.sizeBytes ?? 0;
    return outcome;
  }

  async open(by: Principal, request: FileRequest): Promise<UploadInfo> {
    const uploadId = await this.#open(request, this.#attributes(request), {
      by,
      idempotencyKey: request.idempotencyKey,
    });
    return this.status(uploadId);
  }

  /** Where the upload stands; a request that is writing to it goes on. */
  async status(uploadId: number, patience?: Patience): Promise<UploadInfo> {
    return { uploadId, ...(await this.#existing(uploadId, patience)) };
  }

  /** Ends a request that is writing to the upload, keeps its bytes, and says where the upload stands then. */
  async settle(uploadId: number): Promise<UploadInfo> {
    await this.#turns.endAll(uploadId, "keep");
    return this.status(uploadId);
  }

  async append(
    by: Principal,
    uploadId: number,
    offset: number,
    body: ReadableStream<Uint8Array> | null,
    options: AppendOptions = {},
  ): Promise<UploadInfo> {
    const turn = this.#turns.begin(uploadId);
    const held: { chunk: StoredChunk; placed: PlacedChunk }[] = [];
    const { endOffset = Number.POSITIVE_INFINITY, expectedHashes, expectedCrc32 } = options;
    const isChecked = expectedHashes !== undefined || expectedCrc32 !== undefined;
    try {
      const before = await this.#existing(uploadId);
      // At the same offset the newer request brings the same bytes again; elsewhere it builds on the older one's bytes.
      await turn.takeOver(offset === before.offset ? "discard" : "keep");
      const upload = await this.#existing(uploadId);
      requireOffset(uploadId, offset, upload.offset);
      let sealedTo = offset;
      let stagedTo = offset;
      const stage = async (chunks: StoredChunk[]) => {
        stagedTo = await this.#stage(by, uploadId, stagedTo, chunks);
      };
      const reader = new BodyReader(body, options.lengthBytes, options.signal, this.#silentAfterMs);
      const written = await this.#run<WrittenBody>(
        { reader, turn },
        {
          by,
          id: `upload-${uploadId}`,
          path: upload.path,
          plan: {
            copies: upload,
            chunkSizeBytes: upload.chunkSizeBytes,
            hashes: hashesFor(options),
            keepPartial: !isChecked,
            onSealed: async (chunk, placed) => {
              sealedTo += chunk.lengthBytes;
              if (sealedTo > endOffset) throw tooLong(uploadId, endOffset);
              if (isChecked) return hold(held, { chunk, placed });
              await stage([chunk]);
              placed.release();
            },
          },
          commit: async (written) => {
            checkDigests(options, written.crc32, written.hashes);
            if (held.length > 0) await stage(held.map(({ chunk }) => chunk));
            return written;
          },
        },
      );
      if (written.brokeOff && turn.isTakenAway) throw takenOver(uploadId, { offset: stagedTo });
      return await this.status(uploadId, { underWay: true });
    } finally {
      for (const { placed } of held) placed.release();
      turn.end();
    }
  }

  async complete(
    by: Principal,
    uploadId: number,
    sizeBytes: number,
    { expectedCrc32, idempotencyKey }: { expectedCrc32?: number; idempotencyKey?: string } = {},
  ): Promise<PutOutcome> {
    await this.#turns.endAll(uploadId, "keep");
    const upload = await this.#standing(uploadId);
    // A repeated request finds its upload committed already; its key brings back the first answer.
    if (!upload && idempotencyKey === undefined) throw noSuchUpload(uploadId);
    if (upload) {
      requireOffset(uploadId, sizeBytes, upload.offset);
      checkDigests({ expectedCrc32 }, upload.crc32);
    }
    const crc32 = expectedCrc32 ?? null;
    const command = { type: "COMMIT_UPLOAD", uploadId, sizeBytes, crc32, sha256: null } as const;
    return this.#commit(command, { by, idempotencyKey });
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

  async abort(by: Principal, uploadId: number): Promise<void> {
    await this.#turns.endAll(uploadId, "discard");
    await this.#tools.masters.execute({ type: "ABORT_UPLOAD", uploadId }, { by });
  }

  /** Runs a body through a writer, with an `upload` machine that says how far it is. */
  async #run<T>({ reader, turn }: Source, { by, id, path, atOnce, plan, commit }: Run<T>): Promise<T> {
    const { lengthBytes } = reader;
    this.#slots.refuseUnlessFree();
    const progress = new UploadProgress({
      ...{ id, by: nameOf(by), path },
      ...{ lengthBytes: lengthBytes ?? null, startedAt: Date.now() },
    });
    const { tell } = progress;
    turn?.onTakenAway((takeover) => reader.fail(takeover === "keep" ? ENDED_EARLY : takenOver(turn.uploadId)));
    this.#slots.take();
    this.#active.set(id, { progress, reader });
    this.#lookOut();
    try {
      const outcome =
        (await atOnce?.(tell)) ??
        (await commit(await new BodyWriter(this.#tools, this.#told(plan, tell), reader).run()));
      tell({ type: "COMMITTED" });
      this.counters.uploadsDone++;
      return outcome;
    } catch (error) {
      const { code = "INTERNAL", message } = error as Refusal;
      tell({ type: "FAILED", code, message });
      this.counters.uploadsFailed++;
      throw error;
    } finally {
      reader.release();
      this.#active.delete(id);
      this.#slots.give();
      progress.end();
    }
  }

  #told(plan: Run<unknown>["plan"], tell: BodyPlan["tell"]): BodyPlan {
    const { counters } = this;
    return {
      ...plan,
      tell,
      onBytes: (bytes) => {
        counters.bytesIn += bytes;
      },
      onWorkerLost: () => {
        counters.writeFailovers++;
      },
    };
  }

  /** Looks for uploads that last, now and then while there are any. */
  #lookOut(): void {
    this.#lookout ??= setTimeout(() => {
      this.#lookout = null;
      const before = Date.now() - LASTING_MS;
      for (const { progress } of this.#active.values()) if (progress.input.startedAt <= before) progress.watch();
      if (this.#active.size > 0) this.#lookOut();
    }, LASTING_MS / 2).unref();
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
  async #stage(by: Principal, uploadId: number, offset: number, chunks: StoredChunk[]): Promise<number> {
    const { uploadLeaseMs: leaseMs } = this.#config;
    const command = { type: "STAGE_CHUNKS", uploadId, offset, chunks, leaseMs } as const;
    return (await this.#tools.masters.execute<CommandOf<"STAGE_CHUNKS">>(command, { by, underWay: true })).offset;
  }

  async #existing(uploadId: number, patience?: Patience) {
    const upload = await this.#standing(uploadId, patience);
    if (!upload) throw noSuchUpload(uploadId);
    return upload;
  }

  async #standing(uploadId: number, patience?: Patience) {
    return (await this.#tools.masters.ask({ type: "UPLOAD_STATUS", uploadId }, patience)).upload;
  }
}

/** The writer takes this for a body that broke off, and keeps what came. */
const ENDED_EARLY = new Refusal("BODY_INCOMPLETE", "A newer request has ended this one");

const noSuchUpload = (uploadId: number): Refusal =>
  new Refusal("NO_SUCH_UPLOAD", `There is no upload ${uploadId}`, { uploadId });

const tooLong = (uploadId: number, endOffset: number): Refusal =>
  new Refusal("INVALID_BODY", `Upload ${uploadId} was announced with ${endOffset} bytes; this body goes beyond`, {
    uploadId,
  });

/** Chunks that wait for the digest of their body are staged in one command, so as many as fit one may wait. */
function hold<T>(held: T[], next: T): void {
  if (held.length === MAX_LIST)
    throw new Refusal("PAYLOAD_TOO_LARGE", `Of a body with a checksum ${MAX_LIST} chunks can be taken at once`);
  held.push(next);
}

function requireOffset(uploadId: number, asked: number, offset: number): void {
  if (asked !== offset)
    throw new Refusal("UPLOAD_OFFSET_MISMATCH", `Upload ${uploadId} stands at ${offset}, not ${asked}`, { offset });
}
