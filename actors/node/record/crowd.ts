/**
 * Machines whose actors begin and end by the thousand in a second: some are recorded step by step; the others are counted as
 * long as they are brief. One that lasts is recorded from then on, one that fails is recorded in the end.
 */
import type { AnyActorRef, AnyMachineSnapshot } from "xstate";
import { valueText } from "./chart.ts";
import { contextOf } from "./kept-context.ts";
import type { RecordWriter } from "./record-writer.ts";

const RECORDED_PER_S = 5;
const BRIEF_MS = 1000;

interface Unrecorded {
  machine: string;
  since: number;
}

export class Crowd {
  readonly #writer: RecordWriter;
  readonly #unrecorded = new WeakMap<AnyActorRef, Unrecorded>();
  readonly #done = new Map<string, number>();
  #left = RECORDED_PER_S;

  constructor(writer: RecordWriter) {
    this.#writer = writer;
  }

  /** @returns whether the next step of this actor, of which none is recorded yet, is left out of the record */
  leavesOut(actor: AnyActorRef, machine: string): boolean {
    const known = this.#unrecorded.get(actor);
    if (known !== undefined) return this.#writer.now() - known.since < BRIEF_MS;
    if (this.#left-- > 0) return false;
    this.#unrecorded.set(actor, { machine, since: this.#writer.now() });
    return true;
  }

  /** An actor without records took a step. */
  stepped(actor: AnyActorRef, snapshot: AnyMachineSnapshot): void {
    const known = this.#unrecorded.get(actor);
    if (!known || snapshot.status === "active") return;
    const { machine: m } = known;
    this.#unrecorded.delete(actor);
    const v = valueText(snapshot.value);
    if (v === "done") this.#done.set(m, (this.#done.get(m) ?? 0) + 1);
    if (v !== "failed") return;
    const [, s = this.#writer.nodeId] = /^[^:]+:(.+)$/.exec(actor.id) ?? [];
    const c = contextOf(snapshot.context as Record<string, unknown>);
    this.#writer.emit({ m, a: actor.id, s, k: "init", e: "FAILED", v, c, z: 1 }, null, true);
  }

  everySecond(): void {
    this.#left = RECORDED_PER_S;
    for (const [m, done] of this.#done)
      this.#writer.emit(
        { m, a: `${m}s`, s: this.#writer.nodeId, k: "sum", e: "counted", v: "", d: { done } },
        null,
        false,
      );
    this.#done.clear();
  }
}
