/** Which uploads are recorded: a few of those that pass by, and each that lasts. */
import { afterEach, expect, test } from "bun:test";
import type { StepRecord } from "../../actors/messages/records.ts";
import { startRecording, stopRecording } from "../../actors/node/record/running-recorder.ts";
import { sampleBytes } from "../support/bodies.ts";
import { until } from "../support/fair-time.ts";
import { cluster, put, startCluster, stopAfterEach } from "./one-file.ts";

stopAfterEach();
afterEach(stopRecording);

function recorded(): StepRecord[] {
  const told: StepRecord[] = [];
  startRecording("gateway-1", {
    boot: 1,
    previous: null,
    append: (records) => void told.push(...records),
    after: () => ({ records: [], oldest: { boot: 0, seq: 0 }, lost: 0 }),
    close: () => {},
  });
  return told;
}

test("an upload that waits for its client is watched from its second second on, and until then it can be asked for", async () => {
  const told = recorded();
  await startCluster();
  await Promise.all(Array.from({ length: 10 }, (_, n) => put(sampleBytes(100 + n))));
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const writer = writable.getWriter();
  const long = cluster.data.transfers.put({ path: "long", body: readable });
  await writer.write(sampleBytes(100));
  expect(cluster.data.transfers.activity().uploads).toMatchObject([{ path: "long", state: "opening" }]);
  const statesOf = (path: string) => {
    const actor = told.find(({ m, c }) => m === "upload" && c?.path === path)?.a;
    return told.filter(({ a }) => a === actor).map(({ v }) => v);
  };
  await until("it is recorded", async () => statesOf("long").includes("opening"));
  await writer.close();
  await long;
  await until("its end is recorded", async () => statesOf("long").at(-1) === "done");
  expect([...new Set(statesOf("long"))]).toEqual(["opening", "writing", "sealing", "committing", "done"]);
  expect(new Set(told.filter(({ m, k }) => m === "upload" && k !== "sum").map(({ a }) => a)).size).toBeLessThan(10);
});
