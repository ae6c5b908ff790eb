/** Which upload goes when, without a browser: the courier says when each question and each transfer ends. */
import { expect, test } from "bun:test";
import { UPLOADS_AT_ONCE, type Upload, UploadQueue } from "../../gateway/console/page/files/upload-queue.ts";

interface File {
  size: number;
}

function scripted() {
  const asked: string[] = [];
  const sent: string[] = [];
  const changes: string[][] = [];
  const open = new Map<string, { answer(value: boolean | Error): void; signal: AbortSignal }>();
  let list: Upload<File>[] = [];
  const wait = (path: string, signal: AbortSignal): Promise<boolean> =>
    new Promise((resolve, reject) => {
      open.set(path, { signal, answer: (value) => (value instanceof Error ? reject(value) : resolve(value)) });
      signal.addEventListener("abort", () => reject(new Error("aborted")), { once: true });
    });
  const queue = new UploadQueue<File>(
    {
      exists(path, signal) {
        asked.push(path);
        return wait(path, signal);
      },
      async put({ path }, _onProgress, signal) {
        sent.push(path);
        await wait(path, signal);
      },
      isThere: (error) => (error as Error).message === "is there",
      inWords: (error) => (error as Error).message,
    },
    (uploads) => {
      list = uploads;
      changes.push(uploads.map(({ state }) => state));
    },
    () => {},
  );
  const settled = async (): Promise<void> => {
    for (let n = 0; n < 20; n++) await Promise.resolve();
  };
  return {
    ...{ queue, asked, sent, changes, settled },
    states: () => list.map(({ state }) => state),
    idOf: (path: string) => list.find((one) => one.path === path)?.id as number,
    async answer(path: string, value: boolean | Error): Promise<void> {
      open.get(path)?.answer(value);
      await settled();
    },
    signalOf: (path: string) => open.get(path)?.signal,
  };
}

const files = (count: number) => Array.from({ length: count }, (_, n) => ({ path: `f${n}`, file: { size: 1 } }));

test("C1. cancelling all sends nothing more, in one change, whatever answers come afterwards", async () => {
  const { queue, asked, sent, changes, settled, states, answer } = scripted();
  queue.add(files(200));
  await answer("f0", false);
  expect([asked.length, sent]).toEqual([UPLOADS_AT_ONCE, ["f0"]]);
  const before = changes.length;
  queue.cancelAll();
  expect(changes.length).toBe(before + 1);
  expect(new Set(states())).toEqual(new Set(["cancelled"]));
  await settled();
  for (const { path } of files(200)) await answer(path, false);
  expect([asked.length, sent]).toEqual([UPLOADS_AT_ONCE, ["f0"]]);
  expect(new Set(states())).toEqual(new Set(["cancelled"]));
});

test("C1. one that is cancelled while the page asks whether it is there is not sent, and the question is taken back", async () => {
  const { queue, asked, sent, answer, idOf, signalOf, states, settled } = scripted();
  queue.add(files(5));
  queue.cancel(idOf("f1"));
  expect(signalOf("f1")?.aborted).toBe(true);
  await settled();
  await answer("f1", false);
  expect(sent).toEqual([]);
  expect(asked).toEqual(["f0", "f1", "f2", "f3"]);
  expect(states()[1]).toBe("cancelled");
});

test("C1. a late answer of a cancelled try changes nothing in the next one", async () => {
  const { queue, sent, answer, idOf, states } = scripted();
  queue.add(files(1));
  await answer("f0", false);
  queue.cancel(idOf("f0"));
  queue.tryAgain(idOf("f0"), true);
  expect(sent).toEqual(["f0", "f0"]);
  expect(states()).toEqual(["sending"]);
  await answer("f0", true);
  expect(states()).toEqual(["done"]);
});

test("uploads go three at a time, one ends and the next begins; what is there waits for a decision", async () => {
  const { queue, asked, sent, answer, states, idOf } = scripted();
  queue.add(files(5));
  await answer("f0", true);
  await answer("f1", false);
  await answer("f1", new Error("is there"));
  await answer("f2", false);
  await answer("f2", new Error("broken"));
  expect(states()).toEqual(["exists", "exists", "failed", "sending", "sending"]);
  expect(asked).toEqual(["f0", "f1", "f2", "f3", "f4"]);
  queue.tryAgain(idOf("f0"), true);
  expect(sent).toEqual(["f1", "f2", "f0"]);
  await answer("f0", true);
  expect(states()[0]).toBe("done");
});
