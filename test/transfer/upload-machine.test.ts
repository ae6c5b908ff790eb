import { expect, test } from "bun:test";
import { createActor } from "xstate";
import { type UploadEvent, uploadMachine } from "../../gateway/transfer/upload.machine.ts";

const workers = ["worker-1", "worker-2", "worker-3"];
const placed: UploadEvent = { type: "CHUNK_PLACED", workers };
const sealed: UploadEvent = { type: "CHUNK_SEALED" };
const ended: UploadEvent = { type: "BODY_ENDED" };
const failed: UploadEvent = { type: "FAILED", code: "BODY_INCOMPLETE", message: "gone" };

const after = (...events: UploadEvent[]) => {
  const input = { id: "put-1", by: "system", path: "a", lengthBytes: null, startedAt: 0 };
  const actor = createActor(uploadMachine, { input }).start();
  for (const event of events) actor.send(event);
  return actor.getSnapshot();
};

test("an upload opens, writes, seals, commits and is done", () => {
  expect(after().value).toBe("opening");
  expect(after(placed).value).toBe("writing");
  expect(after(placed, ended).value).toBe("sealing");
  expect(after(placed, ended, sealed).value).toBe("committing");
  expect(after(placed, ended, sealed, { type: "COMMITTED" }).value).toBe("done");
});

test("an empty file goes straight to its commit", () => {
  expect(after(ended).value).toBe("committing");
});

test("a tiny file that the metadata does not take is written to workers after all", () => {
  expect(after(ended, placed).value).toBe("writing");
  expect(after(ended, placed, ended, sealed, { type: "COMMITTED" }).value).toBe("done");
});

test("the next chunk is written while the one before seals, and the commit waits for all seals", () => {
  expect(after(placed, placed, sealed).value).toBe("writing");
  expect(after(placed, placed, sealed, ended).value).toBe("sealing");
  expect(after(placed, placed, ended, sealed).value).toBe("sealing");
  expect(after(placed, placed, ended, sealed, sealed).value).toBe("committing");
  expect(after(placed, sealed, ended).value).toBe("committing");
});

test("nothing is committed before the body has ended", () => {
  expect(after(placed, sealed, { type: "COMMITTED" }).value).toBe("writing");
});

test("it can fail from every state but the last two, and says why", () => {
  for (const events of [[], [placed], [placed, ended], [placed, ended, sealed]]) {
    const snapshot = after(...events, failed);
    expect(snapshot.value).toBe("failed");
    expect(snapshot.context.failure).toEqual({ code: "BODY_INCOMPLETE", message: "gone" });
  }
  expect(after(placed, ended, sealed, { type: "COMMITTED" }, failed).value).toBe("done");
});

test("it knows its chunk, its bytes, and which workers it lost and found", () => {
  const { context } = after(
    placed,
    { type: "BLOCKS_WRITTEN", bytes: 100 },
    { type: "WORKER_LOST", workerId: "worker-2", code: "TIMEOUT" },
    { type: "WORKER_REPLACED", workerId: "worker-4" },
    { type: "BLOCKS_WRITTEN", bytes: 11 },
  );
  expect(context).toMatchObject({ chunkIndex: 0, bytes: 111, workers: ["worker-1", "worker-3", "worker-4"] });
  expect(context.lost).toEqual([{ workerId: "worker-2", code: "TIMEOUT" }]);
});

test("every state says what it means", () => {
  for (const [name, state] of Object.entries(uploadMachine.states))
    expect([name, (state.description ?? "").length > 10]).toEqual([name, true]);
});
