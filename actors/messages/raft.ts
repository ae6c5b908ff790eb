/**
 * What masters say to each other. Messages are one-way in meaning: any may be lost, doubled, late or out of order.
 * They travel in batches; an HTTP answer carries whatever the receiver has to say back by then.
 */
import { type Static, Type } from "@sinclair/typebox";
import { Count, LogIndex, NodeId, Nullable, PositiveCount, Term, Url } from "./primitives.ts";

/** Entries of one append, and their bytes, at most. */
export const MAX_APPEND_ENTRIES = 512;
export const MAX_APPEND_BYTES = 1 << 20;
export const MAX_BATCH_MESSAGES = 1024;

const header = { from: NodeId, to: NodeId, term: Term };
const lastLog = { lastIndex: LogIndex, lastTerm: Term };

/** Names one data directory of a master. */
export const Incarnation = Type.String({ pattern: "^[0-9a-f]{16}$" });

/** Who votes. A list of voter sets: a quorum is a majority of each, so that joint configurations fit in. */
export const Configuration = Type.Object({
  voters: Type.Array(Type.Array(NodeId, { maxItems: 16 }), { minItems: 1, maxItems: 2 }),
  learners: Type.Array(NodeId, { maxItems: 16 }),
  /** What is known of members beyond config.json, agreed like everything else. */
  nodes: Type.Optional(
    Type.Record(
      Type.String(),
      Type.Object({
        url: Url,
        /** Drawn when its data directory was made. Another one under the same id is a master that forgot its votes. */
        incarnation: Nullable(Incarnation),
      }),
    ),
  ),
  /** Removed; an id is never taken again. */
  retired: Type.Optional(Type.Array(NodeId)),
});
export type Configuration = Static<typeof Configuration>;

export const RaftEntry = Type.Object({
  index: LogIndex,
  term: Term,
  kind: Type.Union([Type.Literal("noop"), Type.Literal("command"), Type.Literal("configuration")]),
  data: Type.Uint8Array(),
});
export type RaftEntry = Static<typeof RaftEntry>;

/** "Would you vote for me in `term` (one above mine)?" Changes nothing at either end. */
export const PreVote = Type.Object({ type: Type.Literal("rpc.preVote"), ...header, ...lastLog });
export const PreVoteReply = Type.Object({
  type: Type.Literal("rpc.preVoteReply"),
  ...header,
  /** The term that was asked about. */
  forTerm: Term,
  granted: Type.Boolean(),
});
/** `transfer`: the leader itself asked for this election, so trust in it is no reason to refuse. */
export const Vote = Type.Object({ type: Type.Literal("rpc.vote"), ...header, ...lastLog, transfer: Type.Boolean() });
export const VoteReply = Type.Object({ type: Type.Literal("rpc.voteReply"), ...header, granted: Type.Boolean() });

export const Append = Type.Object({
  type: Type.Literal("rpc.append"),
  ...header,
  prevIndex: LogIndex,
  prevTerm: Term,
  entries: Type.Array(RaftEntry, { maxItems: MAX_APPEND_ENTRIES }),
  commit: LogIndex,
});
/** On success `match` is durable at the follower. On refusal the hints name where the logs may still agree. */
export const AppendReply = Type.Object({
  type: Type.Literal("rpc.appendReply"),
  ...header,
  success: Type.Boolean(),
  match: LogIndex,
  hintIndex: LogIndex,
  hintTerm: Term,
  /** `prevIndex` of the append that this answers. */
  prevIndex: LogIndex,
});

/** "I lead." Echoing `readSeq` proves that the sender led when it sent it. */
export const Beat = Type.Object({
  type: Type.Literal("rpc.beat"),
  ...header,
  commit: LogIndex,
  readSeq: Count,
});
export const BeatReply = Type.Object({
  type: Type.Literal("rpc.beatReply"),
  ...header,
  readSeq: Count,
});

/** "Start an election now": leadership is handed to you. */
export const TimeoutNow = Type.Object({ type: Type.Literal("rpc.timeoutNow"), ...header });

/** "You need entries that I no longer hold; fetch this state instead." */
export const SnapshotOffer = Type.Object({
  type: Type.Literal("rpc.snapshotOffer"),
  ...header,
  snapshotIndex: LogIndex,
  snapshotTerm: Term,
  configuration: Configuration,
  url: Type.String({ maxLength: 512 }),
  sizeBytes: Count,
  sha256: Type.String({ pattern: "^[0-9a-f]{64}$" }),
});
/** Installed, or not needed, up to `match`; or failed, to be offered again. */
export const SnapshotReply = Type.Object({
  type: Type.Literal("rpc.snapshotReply"),
  ...header,
  success: Type.Boolean(),
  match: LogIndex,
});

export const RaftMessage = Type.Union([
  PreVote,
  PreVoteReply,
  Vote,
  VoteReply,
  Append,
  AppendReply,
  Beat,
  BeatReply,
  TimeoutNow,
  SnapshotOffer,
  SnapshotReply,
]);
export type RaftMessage = Static<typeof RaftMessage>;
export type RaftMessageOf<T extends RaftMessage["type"]> = Extract<RaftMessage, { type: T }>;

const ofTheSender = {
  incarnation: Incarnation,
  /** The cluster version up to which its program knows all commands; programs that do not say: 1. */
  knows: Type.Optional(PositiveCount),
  /** Its state's hash at the last CHECK_STATE, and where in the log that is. */
  mark: Type.Optional(Type.Object({ index: LogIndex, hash: Count })),
};

/** One POST between masters, and its answer. */
export const RaftBatch = Type.Object({
  type: Type.Literal("RAFT"),
  url: Url,
  ...ofTheSender,
  /** The receiver's data directory as the sender knows it; another one must not vote under this id. */
  expects: Nullable(Incarnation),
  messages: Type.Array(RaftMessage, { maxItems: MAX_BATCH_MESSAGES }),
});
export const RaftBatchAnswer = Type.Object({
  ...ofTheSender,
  messages: Type.Array(RaftMessage, { maxItems: MAX_BATCH_MESSAGES }),
});
