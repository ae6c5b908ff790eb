/** Writes down one simulated life, step by step, as a recording that the console can replay. */

import type { InspectionEvent } from "xstate";
import { raftMachine } from "../../actors/master/group/raft.machine.ts";
import type { RaftMessage } from "../../actors/messages/raft.ts";
import type { StepRecord } from "../../actors/messages/records.ts";
import { chartOf, edgeIdOf, eventName, valueText } from "../../actors/node/record/chart.ts";
import { recordId } from "../../actors/rules/record-id.ts";
import type { Recording } from "../../gateway/console/api.ts";
import { layoutOf } from "../../gateway/console/layouts.ts";
import type { Master, RaftGroup } from "./raft-group.ts";
import { simulatedHeader, simulatedNode } from "./simulated-recording.ts";

export class RaftRecorder {
  readonly records: StepRecord[] = [];
  readonly #group: RaftGroup;
  readonly #sentBy = new WeakMap<RaftMessage, string>();
  readonly #last = new Map<Master, StepRecord>();
  #counter = 0;
  #cause: string | undefined;

  constructor(group: RaftGroup) {
    this.#group = group;
    group.onStart = (master) => this.#watch(master);
    group.onSend = (message) => {
      const last = this.#last.get(group.master(message.from));
      if (last) this.#sentBy.set(message, recordId(last));
    };
    group.tap = (_, run, arrived) => {
      const sent = arrived && (group.sentAs.get(arrived) ?? arrived);
      this.#cause = sent ? this.#sentBy.get(sent) : undefined;
      run();
      this.#cause = undefined;
    };
  }

  #watch(master: Master): void {
    const boot = master.incarnation;
    let q = 0;
    let edges: string[] = [];
    let state = "";
    master.running.actor.system.inspect((event: InspectionEvent) => {
      if (event.type === "@xstate.microstep") {
        const taken = (event as { _transitions?: Parameters<typeof edgeIdOf>[0][] })._transitions ?? [];
        edges.push(...taken.map(edgeIdOf));
        return;
      }
      if (event.type !== "@xstate.snapshot") return;
      const snapshot = event.snapshot as unknown as { value: unknown; context: RaftContextView };
      const after = valueText(snapshot.value);
      const { term, leaderId, vote, commitIndex, appliedIndex } = snapshot.context;
      const record: StepRecord = {
        n: master.id,
        b: boot,
        q: ++q,
        h: this.#clock(),
        t: this.#group.world.now,
        m: "raft",
        a: `raft:${master.id}`,
        s: master.id,
        k: q === 1 ? "init" : edges.length > 0 ? "tr" : "ignored",
        e: eventName(event.event.type),
        ...(edges.length > 0 ? { x: edges.slice(0, 16) } : {}),
        ...(state !== after && q > 1 ? { f: state } : {}),
        v: after,
        c: { term, leaderId, votedFor: vote, commitIndex, appliedIndex },
        ...(this.#cause ? { w: this.#cause } : {}),
      };
      edges = [];
      state = after;
      this.#last.set(master, record);
      this.records.push(record);
    });
  }

  /** Of everything simulated there is one clock, so the order of steps is the order of records. */
  #clock(): string {
    const ms = Math.floor(this.#group.world.now);
    const { records } = this;
    const last = records.at(-1)?.h;
    const base = ms.toString(16).padStart(12, "0");
    this.#counter = last?.startsWith(base) ? this.#counter + 1 : 0;
    return base + this.#counter.toString(16).padStart(4, "0");
  }

  recording(): Recording {
    const { knobs, masters, world } = this.#group;
    const chart = chartOf(raftMachine);
    const ids = masters.map(({ id }) => id);
    return {
      header: simulatedHeader(world, {
        timings: {
          heartbeatMs: knobs.heartbeatMs,
          suspectAfterMs: knobs.electionMs,
          deadAfterMs: 2 * knobs.electionMs,
          safeModeMs: 0,
        },
        nodes: ids.map((id) => simulatedNode(id, "master", { boot: 1 })),
        machines: [{ chart, layout: layoutOf(chart), nodes: ids }],
      }),
      keyframe: [],
      records: this.records,
    };
  }
}

interface RaftContextView {
  term: number;
  leaderId: string | null;
  vote: string | null;
  commitIndex: number;
  appliedIndex: number;
}
