/** The recorder of this process, and what its mailbox answers of it. */
import type { AnyStateMachine } from "xstate";
import type { MachineStatesAnswer, MachinesAnswer, RecordsAfter, RecordsAnswer } from "../../messages/records.ts";
import { chartOf } from "./chart.ts";
import type { RecordStore } from "./record-store.ts";
import { NO_RECORDS, Recorder } from "./recorder.ts";

let running: Recorder | null = null;
let recorderHere = (): Recorder | null => running;
const known = new Map<string, AnyStateMachine>();

/** From now on this process records. Called once, before its machines start. */
export function startRecording(nodeId: string, store: RecordStore): Recorder {
  running = new Recorder({ nodeId, store });
  running.knows(...known.values());
  return running;
}

export function stopRecording(): void {
  running?.close();
  running = null;
}

/** Where many nodes share a process, each has a recorder of its own: `lookUp` says which is the running code's. */
export function lookUpRecorder(lookUp: () => Recorder | null): void {
  recorderHere = lookUp;
}

/** null while nothing is recorded. */
export const recorder = (): Recorder | null => recorderHere();

/** Machines that this node runs sooner or later; they are drawn whether recording is on or not. */
export function registerMachines(...machines: AnyStateMachine[]): void {
  for (const machine of machines) known.set(machine.id, machine);
  running?.knows(...machines);
}

/** What every node's mailbox answers of records. A node that does not record shows its machines alone. */
export const recordsHandlers = {
  RECORDS_AFTER: (message: RecordsAfter): Promise<RecordsAnswer> | RecordsAnswer =>
    recorder()?.after(message) ?? { ...NO_RECORDS, next: message.after },
  MACHINE_STATES: (): MachineStatesAnswer =>
    recorder()?.states() ?? { actors: [], cursor: { boot: 0, seq: 0 }, clock: NO_RECORDS.clock },
  MACHINES: (): MachinesAnswer => recorder()?.machines() ?? { charts: [...known.values()].map(chartOf) },
};
