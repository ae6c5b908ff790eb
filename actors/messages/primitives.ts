/**
 * The words that all messages share. Everything in `actors/messages/` is a TypeBox schema: type, check and
 * documentation in one. The folder imports TypeBox and nothing of ours.
 */
import { type Static, type TSchema, Type } from "@sinclair/typebox";

/** Node names go into paths, URLs and logs, so they are short and plain: `worker-1`. */
export const NodeId = Type.String({ pattern: "^[a-z0-9][a-z0-9-]{0,62}$", description: "a-z, 0-9 and -, up to 63" });
export type NodeId = Static<typeof NodeId>;

export const Url = Type.String({ pattern: "^https?://[^/?#\\s]{1,255}$", description: "http://host:port, no path" });

/**
 * Chunk ids are handed out by the log in rising order and never twice, by each group of masters in a range of its own
 * (`rules/chunk-id.ts`); the last group's ends below 2^53. People see them as 16 hex digits.
 */
export const ChunkId = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER });
export type ChunkId = Static<typeof ChunkId>;

export const ByteCount = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, description: "bytes" });
export const Crc32 = Type.Integer({ minimum: 0, maximum: 0xffff_ffff, description: "CRC-32 (ISO-HDLC), unsigned" });
export const Milliseconds = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER, description: "ms" });
/** No election reaches this term: with one election each millisecond it takes 140,000 years. */
export const MAX_TERM = 2 ** 52;
export const Term = Type.Integer({ minimum: 0, maximum: MAX_TERM, description: "Raft term, the fence" });
/** A count of anything. Numbers beyond 2^53 - 1 are not exact. */
export const Count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });
export const PositiveCount = Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER });
export const LogIndex = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });

/** A whole path, already checked by `rules/path.ts`: no leading slash, no empty, `.` or `..` segment. */
export const FilePath = Type.String({ minLength: 1, maxLength: 4096 });

/** At most this many chunks, ids or replicas travel in one message. Longer lists are paged. */
export const MAX_LIST = 1000;

export const BoundedList = <T extends TSchema>(item: T, maxItems: number = MAX_LIST) => Type.Array(item, { maxItems });

/** A file that lies in the metadata is no longer than this, whatever `tinyFileBytes` says. */
export const MAX_TINY_BYTES = 1 << 14;

/** msgpack has no `undefined`, so a missing value travels as `null`. */
export const Nullable = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

/** What a worker's disk allows now: `full` takes no new chunks, `readOnly` (a failing disk) also refuses deletes. */
export const WorkerCondition = Type.Union([Type.Literal("normal"), Type.Literal("full"), Type.Literal("readOnly")]);
export type WorkerCondition = Static<typeof WorkerCondition>;

/**
 * What an operator wants of a worker. A draining worker serves on and takes no new chunks, and its copies move away.
 */
export const WorkerMode = Type.Union([
  Type.Literal("active"),
  Type.Literal("draining"),
  Type.Literal("maintenance"),
  Type.Literal("removed"),
]);
export type WorkerMode = Static<typeof WorkerMode>;

/** Why these workers were chosen and not others: kept with the placement, shown by `?explain`. */
export const PlacementDecision = Type.Object({
  atLogTime: Type.Number({ description: "ms since the epoch, leader's clock; for people" }),
  rule: Type.String({ maxLength: 200 }),
  /** Where the one chunk of the grant went. Left out by older masters, and where many chunks were placed at once. */
  chosen: Type.Optional(Type.Array(NodeId, { maxItems: 16 })),
  /** The best that could take the chunk, then the best that could not. Older masters name up to 64, in any order. */
  candidates: Type.Array(
    Type.Object({
      workerId: NodeId,
      score: Type.Number(),
      rejected: Type.Optional(Type.String({ maxLength: 100 })),
    }),
    { maxItems: 64 },
  ),
  /** Of all workers: how many could take it, and how many could not, by reason. Older masters leave it out. */
  counts: Type.Optional(Type.Record(Type.String({ maxLength: 100 }), Type.Integer({ minimum: 0 }))),
});
export type PlacementDecision = Static<typeof PlacementDecision>;

/** Preconditions of a write, evaluated by `decide` at the moment the command is applied. */
export const WriteCondition = Type.Object({
  ifNoneMatchAny: Type.Optional(Type.Boolean({ description: "If-None-Match: * — create only" })),
  ifMatch: Type.Optional(Type.Array(Type.String({ maxLength: 128 }), { maxItems: 16 })),
});
export type WriteCondition = Static<typeof WriteCondition>;
