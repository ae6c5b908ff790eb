/**
 * Writes down the life of a whole simulated cluster as a recording that the console can replay: by each node's shipped
 * recorder, as a real cluster would. Recording only looks on, so a life is the same with it and without it.
 */
import type { AnyStateMachine } from "xstate";
import { raftMachine } from "../../../actors/master/group/raft.machine.ts";
import { livenessMachine } from "../../../actors/master/leading/liveness.machine.ts";
import { repairMachine } from "../../../actors/master/leading/repair.machine.ts";
import { stewardMachine } from "../../../actors/master/leading/steward.machine.ts";
import type { Chart, RecordCursor, StepRecord } from "../../../actors/messages/records.ts";
import { clock, setClock } from "../../../actors/node/record/cause.ts";
import { HybridClock } from "../../../actors/node/record/hybrid-clock.ts";
import { payload } from "../../../actors/node/record/payload.ts";
import type { RecorderTimers, RecordStore } from "../../../actors/node/record/record-store.ts";
import { Recorder } from "../../../actors/node/record/recorder.ts";
import { lookUpRecorder } from "../../../actors/node/record/running-recorder.ts";
import { currentContext, inContext } from "../../../actors/node/trace/trace-context.ts";
import { workerMachine } from "../../../actors/worker/worker.machine.ts";
import type { NodeStatus, Recording } from "../../../gateway/console/api.ts";
import { layoutOf } from "../../../gateway/console/layouts.ts";
import { compareRecords } from "../../../gateway/console/order.ts";
import { uploadMachine } from "../../../gateway/transfer/upload.machine.ts";
import { simulatedHeader, simulatedNode } from "../simulated-recording.ts";
import { currentProgram, type Program, takeAlong } from "./computer.ts";
import {
  isSystemFailure,
  type SystemFailure,
  type SystemLife,
  type SystemLifeOptions,
  simulateSystem,
} from "./simulate-system.ts";
import type { Node, System } from "./system.ts";

export interface RecordedSystemLife {
  life: SystemLife | SystemFailure;
  recording: Recording;
}

/**
 * Lives one seed's life, and records it. Times are ms since its beginning, of the world's clock: the same that a failure
 * and the plan of troubles name.
 */
export function recordSystemLife(seed: number, options: SystemLifeOptions = {}): RecordedSystemLife {
  let recorder: SystemRecorder | undefined;
  try {
    const life = simulateSystem(seed, {
      ...options,
      prepare: (system, checks) => {
        recorder = new SystemRecorder(system);
        options.prepare?.(system, checks);
      },
    });
    const recording = (recorder as SystemRecorder).recording(isSystemFailure(life) ? life : null);
    return { life, recording };
  } finally {
    recorder?.stop();
  }
}

const MOST_EVENT = 128;
const RECORDED = ["master", "worker", "gateway"] as const;
type RecordedKind = (typeof RECORDED)[number];

const MACHINES: Record<RecordedKind, AnyStateMachine[]> = {
  master: [raftMachine, livenessMachine, stewardMachine, repairMachine],
  worker: [workerMachine],
  gateway: [uploadMachine],
};

/** What a node wrote down in all its runs. No disk that fails takes it: it is not of the simulated world. */
interface Written {
  status: NodeStatus;
  records: StepRecord[];
  charts: readonly Chart[];
}

class SystemRecorder {
  readonly #system: System;
  readonly #recorders = new WeakMap<Program, Recorder>();
  readonly #written = new Map<string, Written>();

  constructor(system: System) {
    this.#system = system;
    setClock(new HybridClock(() => system.world.now));
    lookUpRecorder(() => this.#of(currentProgram()));
    takeAlong((code) => {
      const context = currentContext();
      return () => inContext(context, code);
    });
    system.onStart = (node, program) => this.#start(node, program);
    this.#markTroubles();
  }

  stop(): void {
    lookUpRecorder(() => null);
    takeAlong((code) => code);
    setClock(new HybridClock());
  }

  #of(program: Program | null | undefined): Recorder | null {
    return (program && this.#recorders.get(program)) ?? null;
  }

  #start({ id, kind, url, zone }: Node, program: Program): void {
    if (kind === "client") return;
    const written = this.#written.get(id) ?? {
      status: simulatedNode(id, kind, { url, zone: zone || null }),
      records: [],
      charts: [],
    };
    this.#written.set(id, written);
    const recorder = new Recorder({
      nodeId: id,
      store: new MemoryRecords(written.records, ++written.status.boot),
      now: () => Math.floor(this.#system.world.now),
      timers: lookingOn(program),
    });
    recorder.knows(...MACHINES[kind]);
    written.charts = recorder.machines().charts;
    this.#recorders.set(program, recorder);
    program.onEnd.push(() => recorder.flush());
  }

  /** What befalls a node stands in the margin of its own records, as drills do. */
  #markTroubles(): void {
    const { network } = this.#system;
    const mark = (node: Node, event: string, fields?: Record<string, unknown>): void =>
      this.#of(node.computer.program)?.mark(event, node.id, fields);
    const before = <Args extends unknown[]>(told: (...args: Args) => void, act: (...args: Args) => void) => {
      return (...args: Args): void => {
        told(...args);
        act(...args);
      };
    };
    const { kill, pause, close } = this.#system;
    let isOver = false;
    this.#system.kill = before((node, power) => {
      if (this.#system.isUp(node) && !isOver) mark(node, power ? "power lost" : "kill");
    }, kill.bind(this.#system));
    this.#system.pause = before((node, ms) => mark(node, "freeze", { ms: Math.round(ms) }), pause.bind(this.#system));
    const { cut } = network;
    network.cut = (links) => {
      const peers = Map.groupBy(
        links.map((link) => link.split(">") as [string, string]),
        ([from]) => from,
      );
      const senders = [...peers.keys()].map((id) => this.#system.node(id)).filter(this.#system.isUp);
      for (const sender of senders)
        mark(sender, "cut", { peers: (peers.get(sender.id) ?? []).map(([, peer]) => peer).join() });
      const mend = cut.call(network, links);
      return () => {
        for (const sender of senders) mark(sender, "healed");
        mend();
      };
    };
    this.#system.close = before(() => {
      isOver = true;
    }, close.bind(this.#system));
  }

  /** The last record of a life that broke a rule says which. */
  #breach({ rule, message, atMs }: SystemFailure): StepRecord {
    const [{ status, records }] = this.#written.values().toArray() as [Written];
    return {
      n: status.id,
      b: status.boot,
      q: (records.at(-1)?.q ?? 0) + 1,
      h: clock.tick(),
      t: Math.floor(atMs),
      m: "mark",
      a: "mark",
      s: status.id,
      k: "mark",
      e: `breaks ${rule}`.slice(0, MOST_EVENT),
      v: "",
      d: payload({ message }),
    };
  }

  recording(failure: SystemFailure | null): Recording {
    const { config, world } = this.#system;
    const written = [...this.#written.values()];
    const records = written.flatMap((node) => node.records).sort(compareRecords);
    if (failure) records.push(this.#breach(failure));
    const machines = new Map<string, Recording["header"]["machines"][number]>();
    for (const { status, charts } of written)
      for (const chart of charts) {
        const known = machines.get(chart.hash) ?? { chart, layout: layoutOf(chart), nodes: [] };
        known.nodes.push(status.id);
        machines.set(chart.hash, known);
      }
    const { heartbeatMs, suspectAfterMs, deadAfterMs, safeModeMs } = config;
    return {
      header: simulatedHeader(world, {
        timings: { heartbeatMs, suspectAfterMs, deadAfterMs, safeModeMs },
        nodes: written.map(({ status }) => status),
        machines: [...machines.values()],
      }),
      keyframe: [],
      records,
    };
  }
}

/** Timers on a program's computer that are no events of its world. */
function lookingOn(program: Program): RecorderTimers {
  const { computer } = program;
  interface Look {
    planned: { cancelled: boolean };
  }
  const cancel = (look: unknown): void => {
    (look as Look).planned.cancelled = true;
  };
  return {
    setTimeout: (code, ms): Look => ({ planned: computer.look(program, ms, code) }),
    clearTimeout: cancel,
    setInterval: (code, ms): Look => {
      const again = () =>
        computer.look(program, ms, () => {
          look.planned = again();
          code();
        });
      const look: Look = { planned: again() };
      return look;
    },
    clearInterval: cancel,
  };
}

class MemoryRecords implements RecordStore {
  readonly previous: StepRecord | null;

  constructor(
    readonly records: StepRecord[],
    readonly boot: number,
  ) {
    this.previous = records.at(-1) ?? null;
  }

  append(records: readonly StepRecord[]): void {
    this.records.push(...records);
  }

  after({ boot, seq }: RecordCursor, limit: number) {
    const records = this.records.filter(({ b, q }) => b > boot || (b === boot && q > seq)).slice(0, limit);
    return { records, oldest: { boot: 0, seq: 0 }, lost: 0 };
  }

  close(): void {}
}
