/** Each invariant of the store is broken by the mistake that it is there to find. */
import { expect, spyOn, test } from "bun:test";
import { declaredInvariants, InvariantBroken } from "../../actors/rules/invariant.ts";
import { OpenChunk } from "../../actors/worker/store/open-chunk.ts";
import { OpenChunks } from "../../actors/worker/store/writing.ts";
import { openStore, put, write } from "./open-store.ts";
import { BLOCK, randomBytes, temporaryFolder } from "./support.ts";

type Opened = Awaited<ReturnType<typeof openStore>>;

const content = randomBytes(2 * BLOCK);

/** Sets a row behind the back of whatever counts. */
function forge({ index }: Opened, change: Partial<NonNullable<ReturnType<Opened["index"]["find"]>>>): void {
  const row = index.find(1);
  if (row) index.transaction(true, () => index.put({ ...row, ...change }));
}

const mistakes: Record<string, (opened: Opened) => Promise<unknown>> = {
  "store: totals are not negative": async (opened) => {
    await put(opened.store, 1, content);
    forge(opened, { lengthBytes: content.length + 1 });
    await opened.store.trash([1], 1);
  },
  "store: totals are the sums of the rows": async (opened) => {
    await put(opened.store, 1, content);
    forge(opened, { state: "trash" });
    await opened.store.audit(true);
  },
  "store: a sealed chunk is not being written": async ({ store }) => {
    await put(store, 1, content);
    await store.quarantine(1, "the test says so");
    using _ = spyOn(OpenChunks.prototype, "get").mockReturnValue(undefined);
    store.writeBlock(1, 0, BLOCK, content.subarray(0, BLOCK), 1, 7);
    await store.recheck(-1);
  },
  "store: bytes being written are not negative, and none without a chunk": async ({ store }) => {
    const { claim: grow } = OpenChunk.prototype;
    using _ = spyOn(OpenChunk.prototype, "claim").mockImplementation(function (this: OpenChunk, ...block) {
      return grow.apply(this, block) + 1;
    });
    write(store, 1, content);
    await store.abort(1);
  },
  "store: bytes being written are the sum of the open chunks": async ({ store }) => {
    using _ = spyOn(OpenChunk.prototype, "claim").mockReturnValue(5);
    write(store, 1, content);
    await store.audit(false);
  },
  "store: what was swept is not in the trash any more": async ({ store, index }) => {
    await put(store, 1, content);
    await store.trash([1], 1);
    using _ = spyOn(index, "remove").mockReturnValue(undefined);
    await store.sweep(-1, () => true);
  },
  "store: a settled row says what its folder says": async ({ store, index }) => {
    await put(store, 1, content);
    using _ = spyOn(store.folders, "whereIs").mockReturnValue("trash");
    using __ = spyOn(index, "setState").mockReturnValue(undefined);
    await store.lostFiles();
  },
};

test("totals that the index remembers wrongly are found by a count of its rows", async () => {
  using folder = temporaryFolder();
  const { store, index } = await openStore(folder.path);
  await put(store, 1, content);
  await store.audit(true);
  index.transaction(true, () => index.storeTotals({ chunkCount: 2, sealedBytes: 1, trashBytes: 0 }));
  expect(await store.audit(true).catch(({ claim }) => claim)).toBe("store: totals are the sums of the rows");
  index.close();
});

test("every invariant of the store has its mistake here", () => {
  const declared = [...declaredInvariants().keys()].filter((claim) => claim.startsWith("store: "));
  expect(Object.keys(mistakes).sort()).toEqual(declared.sort());
});

for (const [claim, makeMistake] of Object.entries(mistakes))
  test(`"${claim}" is found broken by a planted mistake`, async () => {
    using folder = temporaryFolder();
    const opened = await openStore(folder.path);
    const broken = await makeMistake(opened).then(
      () => null,
      (error) => error,
    );
    expect(broken).toBeInstanceOf(InvariantBroken);
    expect(broken.claim).toBe(claim);
    opened.index.close();
  });
