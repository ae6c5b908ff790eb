/**
 * How far an upload is. Its machine runs as an actor from the moment that there is more to see than a small file passing by:
 * a second chunk, a worker lost, a failure, a second of waiting. Until then an upload is the few events that it was told.
 */
import { type Actor, createActor, getInitialSnapshot, getNextSnapshot, type SnapshotFrom } from "xstate";
import { inspector } from "../../actors/node/record/inspector.ts";
import { recorder } from "../../actors/node/record/running-recorder.ts";
import { type UploadEvent, type UploadInput, uploadMachine } from "./upload.machine.ts";

/** What is told of an upload of one block that goes well. */
const UNEVENTFUL = ["CHUNK_PLACED", "BLOCKS_WRITTEN", "BODY_ENDED", "CHUNK_SEALED", "COMMITTED"];

export class UploadProgress {
  readonly input: UploadInput;
  readonly #told: UploadEvent[] = [];
  #actor: Actor<typeof uploadMachine> | null = null;

  constructor(input: UploadInput) {
    this.input = input;
    if (recorder()?.takesOneMore(uploadMachine.id)) this.watch();
  }

  readonly tell = (event: UploadEvent): void => {
    if (this.#actor === null && this.#isNews(event)) this.watch();
    if (this.#actor === null) this.#told.push(event);
    else this.#actor.send(event);
  };

  #isNews({ type }: UploadEvent): boolean {
    return !UNEVENTFUL.includes(type) || this.#told.some((told) => told.type === type);
  }

  get snapshot(): SnapshotFrom<typeof uploadMachine> {
    if (this.#actor !== null) return this.#actor.getSnapshot();
    const begun = getInitialSnapshot(uploadMachine, this.input);
    return this.#told.reduce((snapshot, event) => getNextSnapshot(uploadMachine, snapshot, event), begun);
  }

  /** From here on the machine runs, and each of its steps is recorded. */
  watch(): void {
    if (this.#actor !== null) return;
    const { input } = this;
    const options = { id: `upload:${input.id}`, input, inspect: inspector() };
    const snapshot = this.#told.length === 0 ? undefined : uploadMachine.getPersistedSnapshot(this.snapshot);
    this.#actor = createActor(uploadMachine, snapshot ? { ...options, snapshot } : options).start();
  }

  /** Nothing more will be told. */
  end(): void {
    if (this.#actor === null) recorder()?.passedBy(uploadMachine.id);
    else this.#actor.stop();
  }
}
