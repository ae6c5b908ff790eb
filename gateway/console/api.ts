/**
 * What the console's page and the command line get from a gateway. All under `/console/api`, JSON unless said otherwise,
 * refusals as problem documents like everywhere.
 *
 * | route | answer |
 * |---|---|
 * | `GET about` | `About`: is this a live cluster or a replayed recording, what may be done here |
 * | `GET stream` | server-sent events, see `StreamEvents`; `?after=CURSOR` or `Last-Event-ID` resumes |
 * | `GET state?at=MS` | `StateAt`: every actor and node at that instant; without `at`: now |
 * | `GET records?from=MS&to=MS&limit=&machine=` | `RecordPage`: records of a span, in causal order |
 * | `GET machines` | `MachineList`: charts of all machines that ran, with layouts |
 * | `GET nodes` | `NodeStatus[]` |
 * | `GET reports` | `Report[]`, newest first |
 * | `GET why?record=n/b/q` | `Why`: one record with its causes and effects; NO_SUCH_RECORD |
 * | `GET refusals?minutes=60` | `RefusalList`: what was refused or failed, with reasons |
 * | `GET recording?minutes=10` | gzip of NDJSON, see `recording.ts`; in a replay: the recording itself |
 * | `POST recording/check` | a recording as body → `RecordingHeader`, or 400 BAD_RECORDING / UNKNOWN_RECORDING_VERSION |
 * | `GET drills` | `DrillList` |
 * | `POST drills` | `DrillRequest` → 202 `Drill`; DRILLS_NOT_ALLOWED, DRILL_UNDER_WAY |
 *
 * In a replay (`about.mode` is "replay") only `about`, `machines`, `recording` and the page are served; the page reads the
 * recording and answers everything else itself with `state-at.ts`, `reports.ts`, `why.ts` and `recording.ts`, which are
 * pure and run in a browser. It does the same with a recording that is dropped on it.
 *
 * Order everywhere: `compareRecords` of `order.ts` (h, then n, b, q).
 */
import { type Static, Type } from "@sinclair/typebox";
import { Nullable } from "../../actors/messages/primitives.ts";
import { ActorState, Chart, StepRecord } from "../../actors/messages/records.ts";
import { RECORDING_FORMAT, RECORDING_VERSION } from "./recording-format.ts";

export type {
  ActorState,
  Chart,
  ChartEdge,
  ChartState,
  RecordKind,
  StepRecord,
} from "../../actors/messages/records.ts";

const Ms = Type.Number({ description: "ms since the epoch" });
const NullableMs = Nullable(Ms);
const RecordRef = Type.String({ description: "n/b/q" });

export const About = Type.Object({
  mode: Type.Union([Type.Literal("live"), Type.Literal("replay")]),
  gateway: Type.String(),
  cluster: Type.String(),
  software: Type.String(),
  /** ms since the epoch, this gateway's clock. */
  now: Ms,
  recording: Type.Boolean({ description: "config.recording.enabled; false: the stream stays empty" }),
  drills: Type.Object({ allowed: Type.Boolean(), reason: Type.String({ description: "why not, or an empty string" }) }),
  timings: Type.Object({
    heartbeatMs: Type.Number(),
    suspectAfterMs: Type.Number(),
    deadAfterMs: Type.Number(),
    safeModeMs: Type.Number(),
    leaderHeartbeatMs: Type.Optional(Type.Number({ description: "between masters" })),
  }),
});
export type About = Static<typeof About>;

/** Whether a node can be asked, and what it said of itself. `unknown` is no verdict on the node: this gateway cannot reach it. */
export const NodeStatus = Type.Object({
  id: Type.String(),
  kind: Type.Union([Type.Literal("master"), Type.Literal("worker"), Type.Literal("gateway")]),
  url: Type.String(),
  zone: Nullable(Type.String()),
  reach: Type.Union([Type.Literal("reachable"), Type.Literal("unknown")]),
  since: Type.Number({ description: "ms since the epoch: reachable or unknown since then" }),
  reason: Type.String({ description: "why it is unknown, or an empty string" }),
  boot: Type.Integer({ description: "0: never answered" }),
  /** State of its own machine (worker, raft), by its latest record. */
  state: Nullable(Type.String()),
  lagMs: Type.Number({ description: "how far its records are behind this gateway's clock" }),
  lost: Type.Integer({ description: "records that its ring overran before we read them" }),
});
export type NodeStatus = Static<typeof NodeStatus>;

// ── stream ─────────────────────────────────────────────────────────────────────────────────────────────────────────

/**
 * `event:` names and the JSON in `data:`. Batches every 50 ms; a comment every 2 s shows that the stream is alive. `id:` is the
 * cursor; it comes with `records` only. After a restart of the gateway the cursor is still good.
 */
export interface StreamEvents {
  /** First of all: what follows goes on from there. `resumed` false: the page starts anew (state, then stream). */
  hello: { cursor: string; resumed: boolean; boot: string; now: number };
  /** In causal order, but for those with `late`: put them where `compareRecords` says. */
  records: { records: StreamedRecord[] };
  nodes: NodeStatus[];
  /** New or changed. */
  report: Report;
  drill: Drill;
}
export type StreamedRecord = StepRecord & { late?: true };

export const StateAt = Type.Object({
  at: Ms,
  /** Hybrid clock of that instant: records with a higher `h` are later. */
  h: Type.String(),
  cursor: Type.String({ description: "resume the stream from here" }),
  actors: Type.Array(ActorState, { description: "alive then, and those that ended in the 5 s before (`z`)" }),
  nodes: Type.Array(NodeStatus),
});
export type StateAt = Static<typeof StateAt>;

export const RecordPage = Type.Object({
  records: Type.Array(StepRecord),
  more: Type.Boolean({ description: "ask again from the time of the last; the first records may repeat" }),
  oldest: NullableMs,
});
export type RecordPage = Static<typeof RecordPage>;

// ── machines ───────────────────────────────────────────────────────────────────────────────────────────────────────

const Box = Type.Object({ x: Type.Number(), y: Type.Number(), width: Type.Number(), height: Type.Number() });
export type Box = Static<typeof Box>;
const Points = Type.Array(Type.Tuple([Type.Number(), Type.Number()]));

/** Absolute coordinates in px for an 11 px monospace font (6.65 px a character), y downwards. */
export const Layout = Type.Object({
  machine: Type.String(),
  hash: Type.String({ description: "of the chart it was made for" }),
  width: Type.Number(),
  height: Type.Number(),
  states: Type.Record(Type.String(), Box, { description: "by state id, without the root" }),
  edges: Type.Record(
    Type.String(),
    Type.Object({
      points: Points,
      label: Nullable(Type.Object({ ...Box.properties, lines: Type.Array(Type.String()) })),
    }),
    { description: "by edge id; edges without a target are listed inside their state instead" },
  ),
  /** The dot before the initial state of each compound state, by the id of the compound (the root included). */
  initials: Type.Record(Type.String(), Type.Object({ x: Type.Number(), y: Type.Number(), points: Points })),
  /** Where edges of the root start: a pill that says "any state". */
  anyState: Nullable(Box),
});
export type Layout = Static<typeof Layout>;

export const MachineList = Type.Array(
  Type.Object({
    chart: Chart,
    layout: Nullable(Layout),
    nodes: Type.Array(Type.String(), { description: "that run it in this version" }),
  }),
);
export type MachineList = Static<typeof MachineList>;

// ── reports ────────────────────────────────────────────────────────────────────────────────────────────────────────

export const Phase = Type.Object({
  name: Type.String({
    description:
      "leaderLoss: missedHeartbeats, preVote, vote, firstCommit (restart: down, takingOffice); workerDeath: silence, suspicion, queue, copying",
  }),
  label: Type.String(),
  from: Ms,
  to: NullableMs,
  ms: Nullable(Type.Number()),
  record: Nullable(RecordRef),
});
export type Phase = Static<typeof Phase>;

/** Answers of one kind while it lasted. */
export const Damage = Type.Object({
  count: Type.Integer(),
  byCode: Type.Record(Type.String(), Type.Integer()),
  first: NullableMs,
  last: NullableMs,
});
export type Damage = Static<typeof Damage>;

export const Report = Type.Object({
  id: Type.String(),
  kind: Type.Union([Type.Literal("leaderLoss"), Type.Literal("workerDeath")]),
  /** The node that was lost. `successor`: the master that followed it as leader. */
  subject: Type.String(),
  successor: Nullable(Type.String()),
  term: Nullable(Type.Integer()),
  title: Type.String(),
  from: Type.Number({ description: "last sign of life" }),
  atLeast: Type.Boolean({ description: "the last sign of life is older than these records: it took longer" }),
  to: NullableMs,
  totalMs: Nullable(Type.Number({ description: "sum of the phases" })),
  phases: Type.Array(Phase, { description: "each begins where the one before ended" }),
  clients: Type.Object({
    errors: Damage,
    refused: Damage,
    longestWaitMs: Nullable(Type.Number({ description: "for the head of an answer; null: not recorded" })),
  }),
  /** Refusals between nodes, which try again by themselves. */
  between: Damage,
  /** Chunks with fewer good copies than wanted, as the leader counted them. */
  chunksAtRisk: Type.Object({
    most: Type.Integer(),
    fewestCopies: Nullable(Type.Integer()),
    from: NullableMs,
    to: NullableMs,
    ms: Nullable(Type.Number()),
  }),
  copies: Type.Object({ healed: Type.Integer(), failed: Type.Integer(), cancelled: Type.Integer() }),
  /** "412 chunks short", "because worker-3 is dead", "because 10 heartbeats were missed", "since 21:04:13.220" */
  because: Type.Array(Type.String()),
  /** The records that the report rests on, in order. */
  records: Type.Array(RecordRef),
});
export type Report = Static<typeof Report>;

// ── why ────────────────────────────────────────────────────────────────────────────────────────────────────────────

export const Why = Type.Object({
  record: StepRecord,
  /** The edge taken, with the guard that let it pass. */
  edges: Type.Array(
    Type.Object({
      id: Type.String(),
      from: Type.String(),
      to: Type.Array(Type.String()),
      guard: Nullable(Type.String()),
      actions: Type.Array(Type.String()),
    }),
  ),
  before: Nullable(ActorState),
  /** Nearest first. */
  causes: Type.Array(StepRecord),
  /** null: the chain ends where it began; otherwise the record that is missing here. */
  chainBreaksAt: Nullable(RecordRef),
  effects: Type.Array(StepRecord),
  /** The same in words. */
  sentences: Type.Array(Type.String()),
});
export type Why = Static<typeof Why>;

export const RefusalEntry = Type.Object({
  at: Ms,
  node: Type.String(),
  code: Type.String(),
  reason: Type.String(),
  request: Type.String({ description: "message type, or method and route" }),
  count: Type.Integer(),
  failed: Type.Boolean({ description: "our fault, not a refusal" }),
  to: Type.Union([Type.Literal("client"), Type.Literal("node")], { description: "who heard it" }),
  record: RecordRef,
});
export type RefusalEntry = Static<typeof RefusalEntry>;
const CountByCode = { total: Type.Integer(), byCode: Type.Record(Type.String(), Type.Integer()) };
export const RefusalList = Type.Object({
  minutes: Type.Number(),
  /** What clients heard. */
  ...CountByCode,
  between: Type.Object(CountByCode),
  entries: Type.Array(RefusalEntry),
});
export type RefusalList = Static<typeof RefusalList>;

// ── recordings ─────────────────────────────────────────────────────────────────────────────────────────────────────

/** Line 1. Line 2 is `{"keyframe": ActorState[]}`, the state before the first record; then one record a line. */
export const RecordingHeader = Type.Object({
  format: Type.Literal(RECORDING_FORMAT),
  version: Type.Literal(RECORDING_VERSION),
  cluster: Type.String(),
  software: Type.String(),
  exportedAt: Ms,
  from: Ms,
  to: Ms,
  /** A simulation's seed, if it is one. */
  seed: Type.Optional(Type.String()),
  timings: About.properties.timings,
  nodes: Type.Array(NodeStatus),
  machines: MachineList,
});
export type RecordingHeader = Static<typeof RecordingHeader>;

export interface Recording {
  header: RecordingHeader;
  keyframe: ActorState[];
  records: StepRecord[];
}

// ── drills ─────────────────────────────────────────────────────────────────────────────────────────────────────────

export const DrillKind = Type.Union(
  (["kill", "freeze", "restart", "fill", "corrupt", "cut"] as const).map((kind) => Type.Literal(kind)),
);
export type DrillKind = Static<typeof DrillKind>;

export const DrillRequest = Type.Object(
  {
    kind: DrillKind,
    node: Type.String({ description: "node id, or leader" }),
    /** cut: the other end. */
    peer: Type.Optional(Type.String()),
    /** freeze, cut, kill: undone after this. Default: 2 × deadAfterMs. */
    durationMs: Type.Optional(Type.Integer({ minimum: 100, maximum: 600_000 })),
  },
  { additionalProperties: false },
);
export type DrillRequest = Static<typeof DrillRequest>;

export const Drill = Type.Object({
  id: Type.String(),
  kind: DrillKind,
  node: Type.String(),
  peer: Nullable(Type.String()),
  state: Type.Union([Type.Literal("running"), Type.Literal("passed"), Type.Literal("failed")]),
  from: Ms,
  to: NullableMs,
  steps: Type.Array(Type.Object({ at: Ms, text: Type.String() })),
  /** What was demanded and what was measured; `ok` null: not known yet. */
  budgets: Type.Array(
    Type.Object({
      name: Type.String({ description: "writesBack, redundancyBack, nothingLost" }),
      label: Type.String(),
      limitMs: Nullable(Type.Number()),
      measuredMs: Nullable(Type.Number()),
      ok: Nullable(Type.Boolean()),
      detail: Type.String(),
    }),
  ),
});
export type Drill = Static<typeof Drill>;

export const DrillList = Type.Object({
  allowed: Type.Boolean(),
  reason: Type.String(),
  nodes: Type.Array(
    Type.Object({
      id: Type.String(),
      kind: Type.String(),
      running: Type.Boolean(),
      frozen: Type.Boolean(),
      pid: Nullable(Type.Integer()),
    }),
  ),
  drills: Type.Array(Drill, { description: "newest first" }),
});
export type DrillList = Static<typeof DrillList>;
