/**
 * The records of a node: one flat record per step of a state machine, and per event of the process. Records of all
 * nodes merge into one order by `h`, in which a cause always comes before its effect. A record holds the state *after*
 * the step, so that the state at any instant is one look-up per actor and never a replay.
 *
 * Keys are short because there are many records.
 */
import { type Static, Type } from "@sinclair/typebox";
import { NodeId } from "./primitives.ts";

/**
 * - `init` an actor began, `tr` a transition was taken, `ignored` no state took the event, `fault` an actor failed
 * - `proc` the process: `started`, `stopping`, `stopped`, `crashed` (recorded by the next start), `failed`
 * - `refused` a request was refused or failed, with its reason; `sum` figures of a second or so, in `d`
 * - `gap` records are missing here; `mark` a person's note: a drill, a bookmark
 */
export const RecordKind = Type.Union(
  (["init", "tr", "ignored", "fault", "proc", "refused", "sum", "gap", "mark"] as const).map((kind) =>
    Type.Literal(kind),
  ),
);
export type RecordKind = Static<typeof RecordKind>;

const Name = Type.String({ maxLength: 128 });
const Count = Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER });

export const StepRecord = Type.Object({
  n: NodeId,
  b: Type.Integer({ minimum: 1, description: "boot: grows at each start of the node" }),
  q: Type.Integer({ minimum: 1, description: "counts the records of a boot; (n, b, q) names a record: n/b/q" }),
  h: Type.String({ pattern: "^[0-9a-f]{16}$", description: "hybrid clock: 12 hex digits of ms, 4 of a counter" }),
  t: Type.Number({ description: "ms since the epoch by the node's own clock; for people only" }),
  m: Type.String({ maxLength: 64, description: "machine, or process, traffic, redundancy, requests, clients, drill" }),
  a: Type.String({ maxLength: 128, description: "actor, e.g. liveness:worker-3; one life each, within a boot" }),
  s: Type.String({ maxLength: 128, description: "what it is about: a node, a chunk, an upload; default: the node" }),
  k: RecordKind,
  e: Type.String({ maxLength: 128, description: "event; timers are `after DELAY` as the chart names them" }),
  d: Type.Optional(Type.Record(Type.String(), Type.Unknown(), { description: "payload, cut to 1 KB, no secrets" })),
  x: Type.Optional(Type.Array(Name, { maxItems: 16, description: "edges taken, by the ids of the chart" })),
  f: Type.Optional(Type.String({ maxLength: 256, description: "state before; absent if it is the same" })),
  v: Type.String({ maxLength: 256, description: "state after: a.b.c, parallel parts joined by |" }),
  c: Type.Optional(Type.Record(Type.String(), Type.Unknown(), { description: "some of the context after" })),
  w: Type.Optional(Type.String({ maxLength: 128, description: "why: the record that caused this one, n/b/q" })),
  ti: Type.Optional(
    Type.String({ pattern: "^[0-9a-f]{32}$", description: "trace that this was a part of; older programs write none" }),
  ),
  r: Type.Optional(
    Type.Integer({ minimum: 2, description: "number of equal records in one, the first at t, the last at l" }),
  ),
  l: Type.Optional(Type.Number({ description: "ms: when the last of r happened" })),
  tm: Type.Optional(
    Type.Array(Type.Object({ id: Name, ms: Type.Number({ description: "ms after t at which it runs out" }) }), {
      maxItems: 16,
      description: "timers armed by this step",
    }),
  ),
  z: Type.Optional(Type.Literal(1, { description: "the actor's last record" })),
});
export type StepRecord = Static<typeof StepRecord>;

// ── machines as they are drawn ─────────────────────────────────────────────────────────────────────────────────────

export const ChartState = Type.Object({
  id: Type.String({ description: "path from the machine: liveness.heard.live; the machine itself is the root" }),
  key: Type.String(),
  parent: Type.Union([Type.String(), Type.Null()]),
  type: Type.Union((["atomic", "compound", "parallel", "final", "history"] as const).map((type) => Type.Literal(type))),
  initial: Type.Union([Type.String(), Type.Null()], { description: "id of the child entered first" }),
  description: Type.String(),
  entry: Type.Array(Type.String()),
  exit: Type.Array(Type.String()),
  invoke: Type.Array(Type.String()),
  tags: Type.Array(Type.String()),
});
export type ChartState = Static<typeof ChartState>;

export const ChartEdge = Type.Object({
  id: Type.String({ description: "source:index, in the order of definition; `x` of a record names these" }),
  source: Type.String(),
  targets: Type.Array(Type.String(), { description: "none: actions only, the state stays" }),
  kind: Type.Union((["event", "after", "always", "done", "error"] as const).map((kind) => Type.Literal(kind))),
  event: Type.String({ description: "as `e` of a record says it; empty for always" }),
  guard: Type.Union([Type.String(), Type.Null()]),
  delay: Type.Union([Type.String(), Type.Null()], { description: "name, or milliseconds" }),
  actions: Type.Array(Type.String()),
  reenter: Type.Boolean(),
  description: Type.String(),
});
export type ChartEdge = Static<typeof ChartEdge>;

/** A machine walked from its own definition; `hash` changes with anything in it. */
export const Chart = Type.Object({
  machine: Type.String(),
  hash: Type.String({ description: "16 hex digits" }),
  description: Type.String(),
  states: Type.Array(ChartState, { description: "the root first, parents before children" }),
  edges: Type.Array(ChartEdge),
});
export type Chart = Static<typeof Chart>;

// ── the messages: every node takes them, signed like all others ────────────────────────────────────────────────────

/** Where a reader goes on: the boot, and the last record of it that was read. `{boot: 0, seq: 0}` = from the oldest. */
export const RecordCursor = Type.Object({ boot: Count, seq: Count });
export type RecordCursor = Static<typeof RecordCursor>;

/** Asks for the records of a node's state machines after a cursor. */
export const RecordsAfter = Type.Object({
  type: Type.Literal("RECORDS_AFTER"),
  after: RecordCursor,
  limit: Type.Integer({ minimum: 1, maximum: 5000 }),
  waitMs: Type.Integer({
    minimum: 0,
    maximum: 5000,
    description: "longest wait for the first record, if there is none yet",
  }),
});
export type RecordsAfter = Static<typeof RecordsAfter>;

export const RecordsAnswer = Type.Object({
  records: Type.Array(StepRecord),
  next: RecordCursor,
  more: Type.Boolean({ description: "ask again at once" }),
  clock: Type.String({ description: "no record to come has a lower `h`" }),
  boot: Count,
  newest: Type.Optional(
    Type.Integer({ minimum: 0, description: "number of this boot's last record; older programs do not say" }),
  ),
  oldest: RecordCursor,
  lost: Count,
});
export type RecordsAnswer = Static<typeof RecordsAnswer>;

/** The present state of one actor. */
export const ActorState = Type.Object({
  n: NodeId,
  b: Count,
  q: Type.Integer({ minimum: 0, description: "the record that brought it here" }),
  h: Type.String(),
  t: Type.Number(),
  m: Type.String(),
  a: Type.String(),
  s: Type.String(),
  v: Type.String(),
  c: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
  tm: Type.Optional(Type.Array(Type.Object({ id: Type.String(), ms: Type.Number() }))),
  z: Type.Optional(Type.Literal(1)),
});
export type ActorState = Static<typeof ActorState>;

/** Asks for the present state of every machine of a node. */
export const MachineStates = Type.Object({ type: Type.Literal("MACHINE_STATES") });
export const MachineStatesAnswer = Type.Object({
  actors: Type.Array(ActorState),
  cursor: RecordCursor,
  clock: Type.String(),
});

export type MachineStatesAnswer = Static<typeof MachineStatesAnswer>;

/** Asks for the machines of a node as charts: their states and edges. */
export const Machines = Type.Object({ type: Type.Literal("MACHINES") });
export const MachinesAnswer = Type.Object({ charts: Type.Array(Chart) });
export type MachinesAnswer = Static<typeof MachinesAnswer>;

/** Orders a drill: the node ignores these nodes for a while. DRILLS_NOT_ALLOWED unless its launcher allows drills. */
export const CutLink = Type.Object({
  type: Type.Literal("CUT_LINK"),
  peers: Type.Array(NodeId, { minItems: 1, maxItems: 16 }),
  forMs: Type.Integer({ minimum: 1, maximum: 600_000 }),
});
export type CutLink = Static<typeof CutLink>;

/** The messages that every node's mailbox takes besides its own. */
export const RecordsMailbox = {
  RECORDS_AFTER: { message: RecordsAfter, answer: RecordsAnswer },
  MACHINE_STATES: { message: MachineStates, answer: MachineStatesAnswer },
  MACHINES: { message: Machines, answer: MachinesAnswer },
  CUT_LINK: { message: CutLink, answer: Type.Object({ cut: Count }) },
} as const;
