/**
 * The worker's mailbox, and the headers of its block routes.
 *
 * Blocks are raw bytes, not messages:
 * - `PUT /chunks/{id}/blocks/{n}` stores block n of an open chunk (or forwards it along `x-route`).
 * - `GET /chunks/{id}/blocks/{n}?count=k` answers blocks n … n+k-1 of a sealed or open chunk.
 */
import { type Static, Type } from "@sinclair/typebox";
import { content, SealedChunk } from "./chunk.ts";
import {
  BoundedList,
  ChunkId,
  Crc32,
  LogIndex,
  Milliseconds,
  NodeId,
  Nullable,
  PositiveCount,
  Term,
  Url,
} from "./primitives.ts";

/** No chunk has larger blocks. */
export const MAX_BLOCK_BYTES = 1 << 24;

/** Names of the headers on block requests and answers. All values are ASCII. */
export const BlockHeader = {
  /** PUT: CRC-32 of the body, lower-case hex. GET answer: one per block, comma-separated. */
  crc32: "x-block-crc32",
  /** PUT: the fixed size of this chunk's blocks in bytes; only the last may be shorter. GET answer: the same. */
  blockSize: "x-block-size",
  /**
   * PUT: the workers that the block still has to reach, `id=url` comma-separated. The receiver forwards to the first.
   */
  route: "x-route",
  /** PUT of a one-block chunk: the worker seals it in the same request. */
  seal: "x-seal",
} as const;

/** Answer to a block PUT that did not reach its whole route: the outcome at each worker (status 207). */
export const BlockOutcomes = Type.Array(
  Type.Object({
    workerId: NodeId,
    stored: Type.Boolean(),
    code: Type.Optional(Type.String({ maxLength: 64 })),
    message: Type.Optional(Type.String({ maxLength: 500 })),
  }),
  { maxItems: 16 },
);
export type BlockOutcomes = Static<typeof BlockOutcomes>;

/**
 * Makes a chunk final once all its blocks are there: flushed, recorded, then answered. Sent again, it gets the same
 * answer.
 */
export const SealChunk = Type.Object({
  type: Type.Literal("SEAL_CHUNK"),
  chunkId: ChunkId,
  ...content,
  blockSizeBytes: PositiveCount,
});

/** Writes and seals chunks of one small block each in one step; many writers share the request and its flush. */
export const PutSmallChunks = Type.Object({
  type: Type.Literal("PUT_SMALL_CHUNKS"),
  chunks: BoundedList(
    Type.Object({
      chunkId: ChunkId,
      blockSizeBytes: PositiveCount,
      crc32: Crc32,
      bytes: Type.Uint8Array({ minByteLength: 1, maxByteLength: 1 << 20 }),
      carried: Type.Optional(Type.Unknown({ description: "the trace context of the request that it is a part of" })),
    }),
    256,
  ),
});
export type PutSmallChunks = Static<typeof PutSmallChunks>;
export const SmallChunkOutcome = Type.Object({
  stored: Type.Boolean(),
  code: Type.Optional(Type.String({ maxLength: 64 })),
  message: Type.Optional(Type.String({ maxLength: 500 })),
});
export type SmallChunkOutcome = Static<typeof SmallChunkOutcome>;
/** In the order of the chunks. */
export const SmallChunksPut = Type.Object({ outcomes: BoundedList(SmallChunkOutcome, 256) });

/** Throws an unsealed chunk away, because its writer gave up. A sealed chunk stays. */
export const AbortChunk = Type.Object({ type: Type.Literal("ABORT_CHUNK"), chunkId: ChunkId });

/**
 * Asks a worker to describe its copy of a chunk. `blockCrcs` combine into `crc32`, which ties every block to the
 * metadata.
 */
export const DescribeChunk = Type.Object({ type: Type.Literal("DESCRIBE_CHUNK"), chunkId: ChunkId });
export const ChunkDescription = Type.Object({
  chunkId: ChunkId,
  state: Type.Union([Type.Literal("sealed"), Type.Literal("open"), Type.Literal("trash"), Type.Literal("quarantined")]),
  ...content,
  blockSizeBytes: PositiveCount,
  /** Little-endian u32 per block. */
  blockCrcs: Type.Uint8Array(),
  sealedAt: Nullable(Milliseconds),
  verifiedAt: Nullable(Milliseconds),
});
export type ChunkDescription = Static<typeof ChunkDescription>;

/**
 * The fields of every order. Orders come from the leader only. A worker refuses an order with a lower term than the
 * highest it has seen, and one that comes after `expiresAt`. That time is by the leader's clock, which its answers
 * carry.
 */
const Order = { term: Term, expiresAt: Milliseconds };

/**
 * The log index at which an order was decided. A worker keeps the highest index of a chunk's copy orders, and ignores
 * an older order to trash the chunk: it comes late, and was meant for an earlier copy.
 */
const DecidedAt = LogIndex;

/** Orders a worker to fetch a chunk from another, check it against the committed length and checksum, and seal it. */
export const CopyChunk = Type.Object({
  type: Type.Literal("COPY_CHUNK"),
  ...Order,
  orderId: Type.String({ maxLength: 64 }),
  decidedAt: DecidedAt,
  timeoutMs: Milliseconds,
  chunkId: ChunkId,
  ...content,
  sources: Type.Array(Type.Object({ id: NodeId, url: Url }), { minItems: 1, maxItems: 16 }),
  /** Pace of this copy; null = unlimited. */
  bytesPerSecond: Nullable(PositiveCount),
});
export const CopiedChunk = Type.Object({
  chunkId: ChunkId,
  ...content,
  sourceId: Nullable(NodeId),
  /** Sources whose copy turned out to be bad. */
  badSources: Type.Array(NodeId),
});

/** Orders a worker to move chunks to its trash. `absent` names those that it did not hold. */
export const TrashChunks = Type.Object({
  type: Type.Literal("TRASH_CHUNKS"),
  ...Order,
  orderId: Type.String({ maxLength: 64 }),
  decidedAt: DecidedAt,
  chunkIds: BoundedList(ChunkId),
});
export const TrashedChunks = Type.Object({ trashed: BoundedList(ChunkId), absent: BoundedList(ChunkId) });

/** Orders a worker to read a whole chunk back and check it. A corrupt copy is put into quarantine at once. */
export const VerifyChunk = Type.Object({
  type: Type.Literal("VERIFY_CHUNK"),
  ...Order,
  chunkId: ChunkId,
  ...content,
});
export const VerifiedChunk = Type.Object({
  chunkId: ChunkId,
  state: Type.Union([Type.Literal("good"), Type.Literal("corrupt"), Type.Literal("missing")]),
});

export const WorkerMailbox = {
  SEAL_CHUNK: { message: SealChunk, answer: SealedChunk },
  PUT_SMALL_CHUNKS: { message: PutSmallChunks, answer: SmallChunksPut },
  ABORT_CHUNK: { message: AbortChunk, answer: Type.Object({ aborted: Type.Boolean() }) },
  DESCRIBE_CHUNK: { message: DescribeChunk, answer: ChunkDescription },
  COPY_CHUNK: { message: CopyChunk, answer: CopiedChunk },
  TRASH_CHUNKS: { message: TrashChunks, answer: TrashedChunks },
  VERIFY_CHUNK: { message: VerifyChunk, answer: VerifiedChunk },
} as const;
