/**
 * The messages between masters. Each is one-way in meaning: any may be lost, doubled, late or out of order. They travel
 * in batches; the HTTP answer carries the messages that the receiver has for the sender by then.
 */
import { type Static, Type } from "@sinclair/typebox";
import { Count, LogIndex, NodeId, Nullable, PositiveCount, Term, Url } from "./primitives.ts";

/** Limits of one append: entries, and their bytes. */
export const MAX_APPEND_ENTRIES = 512;
export const MAX_APPEND_BYTES = 1 << 20;
export const MAX_BATCH_MESSAGES = 1024;

const header = { from: NodeId, to: NodeId, term: Term };
const lastLog = { lastIndex: LogIndex, lastTerm: Term };

/** Names one data directory of a master. */
export const Incarnation = Type.String({ pattern: "^[0-9a-f]{16}$" });

/**
 * The members of the group. `voters` is a list of voter sets: a quorum is a majority of each, so that joint
 * configurations fit in.
 */
export const Configuration = Type.Object({
  voters: Type.Array(Type.Array(NodeId, { maxItems: 16 }), { minItems: 1, maxItems: 2 }),
  learners: Type.Array(NodeId, { maxItems: 16 }),
  /** What the group has agreed on about members beyond config.json. */
  nodes: Type.Optional(
    Type.Record(
      Type.String(),
      Type.Object({
        url: Url,
        /**
         * Drawn when its data directory was made. Another incarnation under the same id is a master that forgot its
         * votes.
         */
        incarnation: Nullable(Incarnation),
      }),
    ),
  ),
  /** Ids of removed masters; an id is never used again. */
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

/**
 * Asks whether the receiver would vote for the sender in `term`, one above the sender's. It changes nothing at either
 * end.
 */
export const PreVote = Type.Object({ type: Type.Literal("rpc.preVote"), ...header, ...lastLog });
/** Answers `rpc.preVote`. */
export const PreVoteReply = Type.Object({
  type: Type.Literal("rpc.preVoteReply"),
  ...header,
  /** The term that was asked about. */
  forTerm: Term,
  granted: Type.Boolean(),
});
/**
 * Asks for a vote in `term`. `transfer`: the leader itself asked for this election, so hearing it is no reason to
 * refuse.
 */
export const Vote = Type.Object({ type: Type.Literal("rpc.vote"), ...header, ...lastLog, transfer: Type.Boolean() });
/** Answers `rpc.vote`. */
export const VoteReply = Type.Object({ type: Type.Literal("rpc.voteReply"), ...header, granted: Type.Boolean() });

/** Carries log entries of the leader that follow the entry at `prevIndex`. */
export const Append = Type.Object({
  type: Type.Literal("rpc.append"),
  ...header,
  prevIndex: LogIndex,
  prevTerm: Term,
  entries: Type.Array(RaftEntry, { maxItems: MAX_APPEND_ENTRIES }),
  commit: LogIndex,
});
/**
 * Answers `rpc.append`: on success the log is durable up to `match`, on refusal the hints name where the logs may
 * agree.
 */
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

/** Tells that the sender leads. An echo of `readSeq` proves that it led when it sent the beat. */
export const Beat = Type.Object({
  type: Type.Literal("rpc.beat"),
  ...header,
  commit: LogIndex,
  readSeq: Count,
});
/** Answers `rpc.beat`. */
export const BeatReply = Type.Object({
  type: Type.Literal("rpc.beatReply"),
  ...header,
  readSeq: Count,
});

/** Tells the receiver to start an election now, because leadership is handed to it. */
export const TimeoutNow = Type.Object({ type: Type.Literal("rpc.timeoutNow"), ...header });

/** Offers the whole state to a follower that needs entries which the leader no longer holds. */
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
/** Answers `rpc.snapshotOffer`: the state is there up to `match`, or the leader shall offer it again. */
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
  /** The cluster version up to which the sender's program knows all commands; left out: 1. */
  knows: Type.Optional(PositiveCount),
  /** The hash of its state at the last CHECK_STATE, and the index of that entry. */
  mark: Type.Optional(Type.Object({ index: LogIndex, hash: Count })),
};

/** Carries several `rpc.` messages from one master to another; its answer carries those of the way back. */
export const RaftBatch = Type.Object({
  type: Type.Literal("RAFT"),
  url: Url,
  ...ofTheSender,
  /** The receiver's data directory as the sender knows it. Another directory must not vote under this id. */
  expects: Nullable(Incarnation),
  messages: Type.Array(RaftMessage, { maxItems: MAX_BATCH_MESSAGES }),
});
export const RaftBatchAnswer = Type.Object({
  ...ofTheSender,
  messages: Type.Array(RaftMessage, { maxItems: MAX_BATCH_MESSAGES }),
});
