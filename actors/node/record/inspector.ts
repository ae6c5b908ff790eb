/**
 * Goes into `createActor(machine, { inspect: inspector() })` for every machine of a node: its recorder, and a watch for
 * events that no state takes. Such an event goes into the node's log, whether recording is on or not, at most once a minute
 * per machine and event, with the count of those since the last line.
 *
 * A machine names in its `meta.mayComeLate` events that ordinary life brings to a state with no use for them.
 */
import type { AnyActorRef, AnyMachineSnapshot, AnyStateMachine, InspectionEvent } from "xstate";
import type { Logger } from "../log.ts";
import { eventName, valueText } from "./chart.ts";
import { metaOf } from "./machine-meta.ts";
import { recorder } from "./running-recorder.ts";

const LOGGED_EVERY_MS = 60_000;
/** Kinds that are kept; beyond, all start anew. */
const MOST_KINDS = 256;

/** An event on its way through a machine. */
interface Passing {
  type: string;
  isTaken: boolean;
}

export class IgnoredEvents {
  readonly #log: Logger;
  readonly #now: () => number;
  readonly #passing = new WeakMap<AnyActorRef, Passing[]>();
  readonly #told = new Map<string, { at: number; untold: number }>();

  constructor(log: Logger, now: () => number = () => performance.now()) {
    this.#log = log;
    this.#now = now;
  }

  readonly inspect = (event: InspectionEvent): void => {
    const actor = event.actorRef as AnyActorRef;
    if (event.type === "@xstate.event") {
      const passing = this.#passing.get(actor);
      const one = { type: event.event.type, isTaken: false };
      if (passing) passing.push(one);
      else this.#passing.set(actor, [one]);
      return;
    }
    const passing = this.#passing.get(actor);
    if (event.type === "@xstate.microstep") {
      const { length = 0 } = (event as { _transitions?: readonly unknown[] })._transitions ?? [];
      if (passing?.[0] && length > 0) passing[0].isTaken = true;
    } else if (event.type === "@xstate.snapshot") {
      const one = passing?.shift();
      // Timers and starts are XState's own: a timer whose guards all refuse was considered.
      if (one && !one.isTaken && !one.type.startsWith("xstate."))
        this.#tell(actor, one.type, event.snapshot as AnyMachineSnapshot);
    }
  };

  #tell(actor: AnyActorRef, type: string, { value, status }: AnyMachineSnapshot): void {
    const machine = (actor as AnyActorRef & { logic: AnyStateMachine }).logic;
    const { mayComeLate = [] } = metaOf(machine);
    if (status !== "active" || mayComeLate.includes(type)) return;
    const kind = `${machine.id} ${type}`;
    const now = this.#now();
    const told = this.#told.get(kind);
    if (told && now - told.at < LOGGED_EVERY_MS) {
      told.untold++;
      return;
    }
    if (this.#told.size >= MOST_KINDS) this.#told.clear();
    this.#told.set(kind, { at: now, untold: 0 });
    const [name, state] = [eventName(type), valueText(value)];
    this.#log.warn(
      { event: "event-ignored", machine: machine.id, actor: actor.id, type: name, state, untold: told?.untold ?? 0 },
      `${machine.id}: ${name} was taken by no state, in ${state}`,
    );
  }
}

let ignored: IgnoredEvents | null = null;

/** From now on this process logs the events that its machines ignore. Called once, before the first of them starts. */
export function logIgnoredEvents(log: Logger): void {
  ignored = new IgnoredEvents(log);
}

/** undefined, and so free, where nothing is recorded and ignored events are not logged. */
export function inspector(): ((event: InspectionEvent) => void) | undefined {
  const record = recorder()?.inspect;
  const notice = ignored?.inspect;
  if (!record || !notice) return record ?? notice;
  return (event) => {
    notice(event);
    record(event);
  };
}
