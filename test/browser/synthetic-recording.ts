/**
 * A recording of a cluster that never was: as many nodes and events as one likes, with a leader that is killed and a worker
 * that dies, drawn on the machines as they are. For the page's own tests: what it makes of real clusters is tested on those.
 */

import { raftMachine } from "../../actors/master/group/raft.machine.ts";
import { livenessMachine } from "../../actors/master/leading/liveness.machine.ts";
import { repairMachine } from "../../actors/master/leading/repair.machine.ts";
import type { ActorState, Chart, StepRecord } from "../../actors/messages/records.ts";
import { chartOf } from "../../actors/node/record/chart.ts";
import { recordId } from "../../actors/rules/record-id.ts";
import { workerMachine } from "../../actors/worker/worker.machine.ts";
import type { Recording } from "../../gateway/console/api.ts";
import { layoutOf } from "../../gateway/console/layouts.ts";

export interface SyntheticOptions {
  workers?: number;
  events?: number;
}

/** What the story itself takes. */
const WRITTEN_ANYWAY = 61;
const WRITTEN_PER_WORKER = 9;
/** A round instant, so that pictures of it stay the same. */
const BEGAN_AT = Date.UTC(2026, 5, 1, 12, 0, 0);
const LEADING = "leader.beating.waiting|leader.quorum.watching|leader.office.ready|leader.transfer.idle";
const OPENING = LEADING.replace("ready", "opening");

class Author {
  readonly records: StepRecord[] = [];
  readonly #boots = new Map<string, number>();
  readonly #counts = new Map<string, number>();
  readonly #states = new Map<string, string>();
  #lastMs = 0;
  #counter = 0;

  constructor(readonly charts: Map<string, Chart>) {}

  boot(node: string): void {
    this.#boots.set(node, (this.#boots.get(node) ?? 0) + 1);
    this.#counts.set(node, 0);
  }

  write(
    ms: number,
    node: string,
    machine: string,
    event: string,
    value: string,
    more: Partial<StepRecord> = {},
  ): StepRecord {
    const b = this.#boots.get(node) ?? 1;
    const q = (this.#counts.get(node) ?? 0) + 1;
    this.#counts.set(node, q);
    const whole = Math.floor(ms);
    this.#counter = whole === this.#lastMs ? this.#counter + 1 : 0;
    this.#lastMs = whole;
    const a = more.a ?? machine;
    const before = this.#states.get(`${node}/${b}/${a}`);
    this.#states.set(`${node}/${b}/${a}`, value);
    const edge = this.charts
      .get(machine)
      ?.edges.find(({ event: name, source }) => name === event && isIn(`${machine}.${before}`, source));
    const record: StepRecord = {
      n: node,
      b,
      q,
      h: (BEGAN_AT + whole).toString(16).padStart(12, "0") + this.#counter.toString(16).padStart(4, "0"),
      t: BEGAN_AT + ms,
      m: machine,
      a,
      s: node,
      k: before === undefined ? "init" : "tr",
      e: event,
      v: value,
      ...(edge ? { x: [edge.id] } : {}),
      ...(before !== undefined && before !== value ? { f: before } : {}),
      ...more,
    };
    this.records.push(record);
    return record;
  }
}

const isIn = (value: string, source: string): boolean => value.split("|").some((part) => part.startsWith(source));

/** One leader is killed at 20 s and comes back at 32 s; one worker dies at 40 s; heartbeats fill what is left of `events`. */
export function syntheticRecording({ workers = 5, events = 400 }: SyntheticOptions = {}): Recording {
  const charts = [raftMachine, livenessMachine, repairMachine, workerMachine].map((machine) => chartOf(machine));
  const author = new Author(new Map(charts.map((chart) => [chart.machine, chart])));
  const masters = ["master-1", "master-2", "master-3"];
  const workerIds = Array.from({ length: workers }, (_, n) => `worker-${n + 1}`);
  const liveness = (worker: string): Partial<StepRecord> => ({ a: `liveness:${worker}`, s: worker });
  for (const node of [...masters, ...workerIds, "gateway-1"]) {
    author.boot(node);
    author.write(0, node, "process", "started", "up", { k: "proc" });
  }
  for (const node of masters) author.write(5, node, "raft", "init", "follower.trusting", { c: { term: 1 } });
  author.write(900, "master-1", "raft", "after doubtMs", "precandidate", { c: { term: 1 } });
  author.write(930, "master-1", "raft", "rpc.preVoteReply", "candidate", { c: { term: 2 } });
  author.write(960, "master-1", "raft", "rpc.voteReply", OPENING, { c: { term: 2 } });
  author.write(990, "master-1", "raft", "rpc.appendReply", LEADING, { c: { term: 2 } });
  for (const id of workerIds) {
    author.write(10, id, "worker", "init", "starting");
    author.write(1000, id, "worker", "OPENED", "registering.asking");
    author.write(1020, id, "worker", "REGISTERED", "serving.disk.normal|serving.pulse.beating");
    author.write(1030, "master-1", "liveness", "init", "heard.unknown|duty.active", liveness(id));
    author.write(1040, "master-1", "liveness", "HEARTBEAT", "heard.live.listening|duty.active", liveness(id));
  }

  const beats = Math.max(0, events - WRITTEN_ANYWAY - workers * WRITTEN_PER_WORKER);
  const beat = (ms: number, n: number): void => {
    const isSilent = n % workers === 0 && ms > 40_000;
    const id = workerIds[isSilent ? 1 : n % workers] as string;
    const isResting = n % (2 * workers) < workers;
    author.write(ms, id, "worker", isResting ? "ACKNOWLEDGED" : "after heartbeatMs", pulse(isResting));
  };
  const pulse = (isResting: boolean): string =>
    `serving.disk.normal|serving.pulse.${isResting ? "resting" : "beating"}`;

  const script: [number, () => void][] = [
    [
      20_000,
      () => {
        const last = author.write(20_000, "master-1", "raft", "after heartbeatMs", LEADING, { c: { term: 2 } });
        const heard = author.write(20_004, "master-2", "raft", "rpc.beat", "follower.trusting", {
          w: recordId(last),
          c: { term: 2 },
          tm: [{ id: "doubtMs", ms: 1400 }],
        });
        const missed = author.write(21_404, "master-2", "raft", "after doubtMs", "precandidate", {
          w: recordId(heard),
          c: { term: 2 },
        });
        const asked = author.write(21_409, "master-3", "raft", "rpc.preVote", "follower.trusting", {
          w: recordId(missed),
          c: { term: 2 },
          d: { from: "master-2", forTerm: 3 },
        });
        const preVoted = author.write(21_433, "master-2", "raft", "rpc.preVoteReply", "candidate", {
          w: recordId(asked),
          d: { from: "master-3", granted: true },
          c: { term: 3 },
        });
        const voter = author.write(21_440, "master-3", "raft", "rpc.vote", "follower.trusting", {
          w: recordId(preVoted),
          c: { term: 3 },
        });
        const voted = author.write(21_464, "master-2", "raft", "rpc.voteReply", OPENING, {
          w: recordId(voter),
          d: { from: "master-3", granted: true, term: 3 },
          c: { term: 3 },
        });
        author.write(21_499, "master-2", "raft", "rpc.appendReply", LEADING, {
          w: recordId(voted),
          c: { term: 3, commit: 4127 },
        });
        for (const id of workerIds) {
          author.write(21_520, "master-2", "liveness", "init", "heard.unknown|duty.active", liveness(id));
          author.write(21_600, "master-2", "liveness", "HEARTBEAT", "heard.live.listening|duty.active", liveness(id));
        }
        for (const id of workerIds)
          author.write(21_700, "master-2", "liveness", "HEARTBEAT", "heard.live.listening|duty.active", {
            ...liveness(id),
            r: 60,
            l: BEGAN_AT + (id === "worker-1" ? 40_000 : 59_900),
          });
        author.write(21_300, "gateway-1", "requests", "NO_LEADER", "refused", {
          k: "refused",
          d: { request: "PUT /files/{path}", reason: "No master leads now" },
          r: 12,
        });
      },
    ],
    [
      32_000,
      () => {
        author.boot("master-1");
        author.write(32_000, "master-1", "process", "started", "up", { k: "proc" });
        author.write(32_010, "master-1", "raft", "init", "follower.trusting", { c: { term: 3 } });
      },
    ],
    [
      42_000,
      () => {
        const suspect = author.write(
          42_000,
          "master-2",
          "liveness",
          "after suspectAfterMs",
          "heard.suspect|duty.active",
          liveness("worker-1"),
        );
        const dead = author.write(
          46_000,
          "master-2",
          "liveness",
          "after deadAfterSuspicionMs",
          "heard.dead|duty.active",
          {
            ...liveness("worker-1"),
            w: recordId(suspect),
          },
        );
        for (let n = 0; n < 9; n++) {
          const repair = {
            a: `repair:${n}`,
            s: `000000000000${(0x1a0 + n).toString(16)}`,
            c: { reason: "worker-1 is dead" },
          };
          author.write(46_020, "master-2", "repair", "init", "queued", { ...repair, w: recordId(dead) });
          author.write(46_100 + n * 150, "master-2", "repair", "START", "copying", repair);
          author.write(46_600 + n * 150, "master-2", "repair", "COPIED", "verifying", repair);
          author.write(46_640 + n * 150, "master-2", "repair", "RECORDED", "healed", { ...repair, z: 1 });
        }
      },
    ],
  ];
  let next = 0;
  for (let n = 0; n < beats; n++) {
    const ms = 2000 + (n / beats) * 58_000;
    for (; next < script.length && (script[next] as [number, () => void])[0] <= ms; next++) script[next]?.[1]();
    beat(ms, n);
  }
  for (; next < script.length; next++) script[next]?.[1]();
  author.write(60_000, "master-2", "raft", "after heartbeatMs", LEADING, { c: { term: 3 } });

  const records = author.records.sort((a, b) => (a.h < b.h ? -1 : a.h > b.h ? 1 : a.n < b.n ? -1 : 1));
  const keyframe: ActorState[] = [];
  const kinds = { master: masters, worker: workerIds, gateway: ["gateway-1"] } as const;
  return {
    header: {
      format: "dfs-recording",
      version: 1,
      cluster: "synthetic",
      software: "0.1.0",
      exportedAt: BEGAN_AT + 61_000,
      from: BEGAN_AT,
      to: BEGAN_AT + 60_000,
      seed: "7",
      timings: { heartbeatMs: 500, suspectAfterMs: 2000, deadAfterMs: 6000, safeModeMs: 6000 },
      nodes: (["master", "worker", "gateway"] as const).flatMap((kind) =>
        kinds[kind].map((id) => ({
          id,
          kind,
          url: "http://127.0.0.1:1",
          zone: null,
          ...(id === "worker-1"
            ? { reach: "unknown" as const, since: BEGAN_AT + 40_100, reason: "It does not answer" }
            : { reach: "reachable" as const, since: BEGAN_AT, reason: "" }),
          boot: 1,
          state: null,
          lagMs: 0,
          lost: 0,
        })),
      ),
      machines: charts.map((chart) => ({ chart, layout: layoutOf(chart), nodes: masters })),
    },
    keyframe,
    records,
  };
}
