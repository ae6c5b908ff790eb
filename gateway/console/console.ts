/** The console behind its routes: what the records of all nodes say about now, then, and why. */
import { gzipSync } from "bun";
import type { Config } from "../../actors/messages/config.ts";
import { Refusal } from "../../actors/messages/errors.ts";
import type { Logger } from "../../actors/node/log.ts";
import type {
  About,
  Drill,
  MachineList,
  NodeStatus,
  RecordingHeader,
  RecordPage,
  RefusalList,
  Report,
  StateAt,
  StepRecord,
  StreamedRecord,
  Why,
} from "./api.ts";
import { ClientWaits } from "./client-waits.ts";
import type { Drills } from "./drills.ts";
import { type FollowedStore, type Follower, NOT_ASKED, type ToldRecord } from "./follower.ts";
import { layoutOf } from "./layouts.ts";
import { beginOf, compareRecords, endOf } from "./order.ts";
import { formatRecording } from "./recording.ts";
import { RECORDING_FORMAT, RECORDING_VERSION } from "./recording-format.ts";
import { refusalsOf } from "./refusals.ts";
import { reportsOf } from "./reports.ts";
import { ENDED_SHOWN_MS } from "./state-at.ts";
import { whyOf } from "./why.ts";

/** What reports are made of. */
const REPORTED = new Set([
  "raft",
  "liveness",
  "steward",
  "repair",
  "redundancy",
  "process",
  "requests",
  "clients",
  "mark",
  "reach",
]);
const REPORTS_REACH_BACK_MS = 3_600_000;
const REPORTS_EVERY_MS = 1000;
const MOST_REPORTED = 20_000;
const MOST_FOLLOWED_MS = 10 * 60_000;
/** Shorter waits occur in any second, and change no report. */
const NOTED_WAIT_MS = 100;
const MOST_ACTORS = 5000;
const MOST_REPLAYED = 5000;
const MOST_EXPORTED = 200_000;
const PAGE = 5000;

/** One page that watches, and what it receives. */
export interface Viewer {
  records(records: StreamedRecord[], cursor: string): void;
  nodes(nodes: NodeStatus[]): void;
  report(report: Report): void;
  drill(drill: Drill): void;
  /** The gateway stops. */
  end(): void;
}

export interface ConsoleParts {
  config: Config;
  gatewayId: string;
  software: string;
  clusterId: () => Promise<string>;
  store: FollowedStore;
  follower: Follower;
  drills: Drills;
  log: Logger;
}

export class Console {
  readonly drills: Drills;
  readonly waits = new ClientWaits();
  readonly #parts: ConsoleParts;
  readonly #viewers = new Set<Viewer>();
  readonly #timers: Timer[] = [];
  /** By actor and event, since the actor's last change. */
  readonly #lastBeats = new Map<string, Map<string, StepRecord>>();
  #reported: (StepRecord | null)[] = [];
  #reports = new Map<string, string>();
  #latest: Report[] = [];
  #stale = true;
  #nodesTold = "";
  readonly #unfollow: () => void;

  constructor(parts: ConsoleParts) {
    this.#parts = parts;
    this.drills = parts.drills;
    const { store, follower } = parts;
    const since = beginOf(Date.now() - REPORTS_REACH_BACK_MS);
    for (const machine of REPORTED)
      for (const record of store.between(since, "~", MOST_REPORTED, machine)) this.#keepForReports(record);
    this.#timers.push(setInterval(() => this.#everySecond(), REPORTS_EVERY_MS));
    parts.drills.onChange = (drill) => {
      for (const viewer of this.#viewers) viewer.drill(drill);
    };
    this.#unfollow = follower.observe((records) => {
      for (const record of records) if (REPORTED.has(record.m)) this.#keepForReports(record);
    });
  }

  /** Somebody looks at the records. Resolves once those of all nodes that answer are here. */
  look(): Promise<void> {
    return this.#parts.follower.look();
  }

  /** Of steps that change nothing only the last of each kind is kept: it is what silence is counted from. */
  #keepForReports(record: StepRecord): void {
    const key = `${record.n} ${record.a}`;
    const isBeat = record.k === "tr" && record.f === undefined && !record.z;
    if (isBeat) {
      const beats = this.#lastBeats.get(key) ?? new Map<string, StepRecord>();
      const earlier = beats.get(record.e);
      const at = earlier ? this.#reported.lastIndexOf(earlier) : -1;
      if (at >= 0) this.#reported[at] = null;
      this.#lastBeats.set(key, beats.set(record.e, record));
    } else {
      if (!isQuick(record)) this.#stale = true;
      if (record.f !== undefined) this.#lastBeats.delete(key);
    }
    this.#reported.push(record);
    if (this.#reported.length > 2 * MOST_REPORTED) this.#compact();
  }

  #compact(): StepRecord[] {
    const records = this.#reported.filter((record) => record !== null).sort(compareRecords);
    this.#reported = records.slice(-MOST_REPORTED);
    return this.#reported as StepRecord[];
  }

  #everySecond(): void {
    const { follower } = this.#parts;
    if (!follower.isFollowing) return;
    if (this.#stale) this.reports();
    if (this.#latest.some(isUnderWay)) follower.followFor(2 * REPORTS_EVERY_MS);
    const nodes = follower.statuses();
    const told = JSON.stringify(nodes.map(({ lagMs: _, ...node }) => node));
    if (told === this.#nodesTold) return;
    this.#nodesTold = told;
    for (const viewer of this.#viewers) viewer.nodes(nodes);
  }

  reports(): Report[] {
    if (!this.#stale) return this.#latest;
    this.#stale = false;
    this.#latest = reportsOf(this.#compact(), this.#timings());
    for (const report of this.#latest) {
      const text = JSON.stringify(report);
      if (this.#reports.get(report.id) === text) continue;
      this.#reports.set(report.id, text);
      for (const viewer of this.#viewers) viewer.report(report);
    }
    return this.#latest;
  }

  #timings(): About["timings"] {
    const { heartbeatMs, suspectAfterMs, deadAfterMs, safeModeMs, raft } = this.#parts.config;
    return { heartbeatMs, suspectAfterMs, deadAfterMs, safeModeMs, leaderHeartbeatMs: raft.heartbeatMs };
  }

  async about(): Promise<About> {
    const { config, gatewayId, software, clusterId } = this.#parts;
    return {
      mode: "live",
      gateway: gatewayId,
      cluster: await clusterId(),
      software,
      now: Date.now(),
      recording: config.recording.enabled,
      drills: await this.drills.permission(),
      timings: this.#timings(),
    };
  }

  nodes(): NodeStatus[] {
    return this.#parts.follower.statuses();
  }

  // ── stream ───────────────────────────────────────────────────────────────────────────────────────────────────────

  #cursor(id: number): string {
    return `${this.#parts.store.storeId}:${id}`;
  }

  /**
   * Begins to watch. The viewer first gets all records after `after` that are still known, at once.
   *
   * @returns what the page receives first, and how to end it
   */
  watch(after: string | null, viewer: Viewer): { cursor: string; resumed: boolean; stop: () => void } {
    const { store, follower } = this.#parts;
    const [storeId, id] = after?.split(":") ?? [];
    const newest = store.lastId();
    const from = storeId === store.storeId && /^\d{1,15}$/.test(id ?? "") ? Number(id) : null;
    const resumed = from !== null && from <= newest && newest - from <= MOST_REPLAYED;
    this.#viewers.add(viewer);
    const unlisten = follower.listen((records, lastId) => viewer.records(records, this.#cursor(lastId)));
    if (resumed && from < newest) {
      const missed = store.since(from, MOST_REPLAYED);
      queueMicrotask(() => viewer.records(missed.map(streamed), this.#cursor(newest)));
    }
    return {
      cursor: this.#cursor(resumed ? from : newest),
      resumed,
      stop: () => {
        this.#viewers.delete(viewer);
        unlisten();
      },
    };
  }

  // ── then ─────────────────────────────────────────────────────────────────────────────────────────────────────────

  stateAt(at: number | null): StateAt {
    const { store, follower } = this.#parts;
    const ms = at ?? Date.now();
    const h = at === null ? "~" : endOf(ms);
    const cursor = this.#cursor(store.lastId());
    const actors = store.statesAt(h, beginOf(ms - ENDED_SHOWN_MS), MOST_ACTORS);
    return {
      at: ms,
      h: at === null ? endOf(ms) : h,
      cursor,
      actors,
      nodes: at === null ? follower.statuses() : this.#nodesAt(actors),
    };
  }

  /** The nodes as this gateway found them then; a node that it did not ask at that time is unknown. */
  #nodesAt(actors: StateAt["actors"]): NodeStatus[] {
    return this.#parts.follower.statuses().map((node) => {
      const reach = actors.find(({ m, s, v }) => m === "reach" && s === node.id && v !== NOT_ASKED);
      const own = actors.find(({ m, n }) => n === node.id && (m === "worker" || m === "raft"));
      return {
        ...node,
        reach: reach?.v === "reachable" ? "reachable" : "unknown",
        since: reach?.t ?? node.since,
        reason: reach ? "" : "not asked at that time",
        boot: own?.b ?? 0,
        state: own?.v ?? null,
        lagMs: 0,
      };
    });
  }

  records(from: number, to: number, limit: number, machine?: string): RecordPage {
    const { store } = this.#parts;
    const found = store.between(beginOf(from), endOf(to), limit + 1, machine);
    const oldest = store.oldest();
    return { records: found.slice(0, limit).map(streamed), more: found.length > limit, oldest: oldest?.t ?? null };
  }

  // ── why ──────────────────────────────────────────────────────────────────────────────────────────────────────────

  /** @throws NO_SUCH_RECORD */
  why(id: string): Why {
    const { store, follower } = this.#parts;
    const find = (name: string): StepRecord | null => {
      const [n = "", b, q] = name.split("/");
      const found = store.find(n, Number(b), Number(q));
      return found && streamed(found);
    };
    const record = find(id);
    if (!record) throw new Refusal("NO_SUCH_RECORD", `There is no record ${id.slice(0, 100)}`);
    return whyOf(
      record,
      {
        find,
        causedBy: (cause, limit) => store.causedBy(cause, limit).map(streamed),
        before: (n, a, h) => {
          const found = store.before(n, a, h);
          return found && streamed(found);
        },
      },
      follower.charts().map(({ chart }) => chart),
    );
  }

  refusals(minutes: number): RefusalList {
    const { store } = this.#parts;
    return { minutes, ...refusalsOf(store.between(beginOf(Date.now() - minutes * 60_000), "~", PAGE, "requests")) };
  }

  // ── machines and recordings ──────────────────────────────────────────────────────────────────────────────────────

  machines(): MachineList {
    return this.#parts.follower
      .charts()
      .map(({ chart, nodes }) => ({ chart, layout: layoutOf(chart), nodes }))
      .sort((a, b) => (a.chart.machine < b.chart.machine ? -1 : 1));
  }

  /** @returns the gzipped file, and a name for it */
  async recording(minutes: number): Promise<{ bytes: Uint8Array<ArrayBuffer>; name: string }> {
    const { store, software, clusterId } = this.#parts;
    const to = Date.now();
    const records = store.between(beginOf(to - minutes * 60_000), "~", MOST_EXPORTED).map(streamed);
    const from = records[0]?.t ?? to;
    const beforeFirst = records[0] ? beginOf(from) : endOf(to);
    const header: RecordingHeader = {
      format: RECORDING_FORMAT,
      version: RECORDING_VERSION,
      cluster: await clusterId(),
      software,
      exportedAt: to,
      from,
      to,
      timings: this.#timings(),
      nodes: this.nodes(),
      machines: this.machines(),
    };
    const keyframe = store.statesAt(beforeFirst, beforeFirst, MOST_ACTORS);
    const name = `dfs-${new Date(to).toISOString().slice(0, 19).replaceAll(":", "-")}.recording.gz`;
    return { bytes: gzipSync(formatRecording({ header, keyframe, records })), name };
  }

  stop(): void {
    for (const viewer of this.#viewers) viewer.end();
    for (const timer of this.#timers) clearInterval(timer);
    this.#unfollow();
    this.#parts.follower.stop();
    this.#parts.store.close();
  }
}

/** A death that is not over yet is followed to its end, unless that takes too long. */
const isUnderWay = ({ from, to }: Report): boolean => to === null && Date.now() - from < MOST_FOLLOWED_MS;

/** A second in which no client waited for long changes no report. */
const isQuick = ({ m, d }: StepRecord): boolean => m === "clients" && Number(d?.longestMs) < NOTED_WAIT_MS;

const streamed = ({ id: _, late, ...record }: ToldRecord): StreamedRecord =>
  late ? { ...record, late: true } : record;
