/** Verdicts are kept from one look to the next; nobody can tell from the answers, but by the time they take. */
import { afterEach, expect, test } from "bun:test";
import { InvariantBroken, whenBroken } from "../../actors/rules/invariant.ts";
import { KeptVerdicts, type Standing } from "../../actors/rules/redundancy/kept-verdicts.ts";
import { copies } from "../../actors/rules/redundancy/scheme.ts";
import type { SqliteMetadata } from "../../databases/metadata/sqlite-metadata.ts";
import { WRITES } from "../../databases/metadata/statements.ts";
import { TOUCHES_SET } from "../../databases/metadata/touched-sets.ts";
import { ManualCluster } from "../support/manual-cluster.ts";
import { MetadataHarness } from "../support/metadata-harness.ts";
import { pick, SEED, seeded } from "../support/random.ts";

const WORKERS = ["w1", "w2", "w3", "w4", "w5"];

const standing = (of: Partial<Standing> = {}): Standing => ({
  ...{ liveness: "live", mode: "active", zone: "a", isSure: true },
  ...of,
});

const someStanding = (random: () => number): Standing | undefined =>
  random() < 0.1
    ? undefined
    : standing({
        liveness: pick(random, ["live", "live", "live", "dead", "unknown"]),
        mode: pick(random, ["active", "active", "draining", "maintenance"]),
        zone: pick(random, ["a", "b", "c"]),
        isSure: random() < 0.8,
      });

const set = (id: number, workers: string[], chunkCount = 1) => ({ id, scheme: copies(3), workers, chunkCount });

test("every write to a replica set says which one it touches", () => {
  const writing = Object.entries(WRITES)
    .filter(([, sql]) => /\b(INTO|UPDATE|DELETE FROM) replica_sets\b/.test(sql))
    .map(([name]) => name);
  expect(writing.length).toBeGreaterThanOrEqual(5);
  expect(Object.keys(TOUCHES_SET).sort()).toEqual(writing.sort());
});

test(`verdicts and sums kept by what commands touched are those of a look at everything  SEED=${SEED}`, () => {
  const random = seeded(SEED);
  const dfs = new MetadataHarness(WORKERS);
  const kept = new KeptVerdicts(2);
  dfs.metadata.onSetsTouched = (touched) => {
    if (touched === "all") return kept.reset(dfs.queries.replicaSets());
    for (const id of touched) kept.drop(id);
    for (const one of dfs.queries.replicaSetsOf(touched)) kept.put(one);
  };
  const someChunk = () => Math.ceil(random() * 200);
  const commands = [
    () => dfs.put(`f${someChunk()}`, [dfs.chunk([pick(random, WORKERS), pick(random, WORKERS), "w1", "w2"])]),
    () => dfs.put(`f${someChunk()}`, [dfs.chunk(["w1", "w2", "w3"]), dfs.chunk(["w3", "w4", "w5"])]),
    () => ({ type: "DELETE_PATH", path: `f${someChunk()}`, recursive: false, condition: {} }) as const,
    () => {
      const replica = { chunkId: someChunk(), workerId: pick(random, WORKERS), reason: "copied" };
      return { type: "ADD_REPLICAS", replicas: [replica] } as const;
    },
    () => {
      const replica = { chunkId: someChunk(), workerId: pick(random, WORKERS), state: "missing" } as const;
      return { type: "MARK_REPLICAS", replicas: [replica] } as const;
    },
    () => ({ type: "EXPIRE", sessionIdleMs: 1 }) as const,
    () =>
      ({
        ...{ type: "REGISTER_WORKER", workerId: pick(random, WORKERS), url: "http://127.0.0.1:1", zone: "z" },
        ...{ incarnation: `disk-${random()}`, capacityBytes: 1 },
      }) as const,
  ];
  for (let n = 0; n < 1200; n++) {
    if (random() < 0.1) kept.workerChanged(pick(random, WORKERS), someStanding(random));
    else {
      const dice = random();
      dfs.run((dice < 0.02 ? commands[6] : pick(random, commands.slice(0, 6)))?.() as ReturnType<typeof dfs.put>);
    }
    kept.compare(dfs.queries.replicaSets(), true);
    if (n % 50 > 0) continue;
    const anew = new KeptVerdicts(2);
    for (const id of WORKERS) anew.workerChanged(id, kept.standingOf(id));
    anew.reset(dfs.queries.replicaSets());
    expect(kept.tally.difference(anew.tally)).toBeNull();
    const ids = (sets: Iterable<{ set: { id: number } }>) => Array.from(sets, ({ set }) => set.id).sort();
    expect(ids(kept.lacking())).toEqual(ids(anew.lacking()));
    expect(ids(kept.overfull())).toEqual(ids(anew.overfull()));
    for (const id of WORKERS) expect(ids(kept.on(id))).toEqual(ids(anew.on(id)));
    const crowds = (of: KeptVerdicts) => Array.from(of.crowded(), ({ zones, sets }) => [[...zones].sort(), ids(sets)]);
    expect(crowds(kept).sort()).toEqual(crowds(anew).sort());
  }
  expect(kept.size).toBeGreaterThan(0);
});

test("an id that an empty set left behind, and another set got, is judged by its new workers", () => {
  const dfs = new MetadataHarness(WORKERS);
  const kept = new KeptVerdicts(2);
  const touched = new Set<number>();
  dfs.metadata.onSetsTouched = (ids) => {
    for (const id of ids === "all" ? [] : ids) touched.add(id);
  };
  const catchUp = () => {
    for (const id of touched) kept.drop(id);
    for (const one of dfs.queries.replicaSetsOf(touched)) kept.put(one);
    touched.clear();
  };
  dfs.accept(dfs.put("first", [dfs.chunk(["w1", "w2", "w3"])]));
  catchUp();
  const [before] = [...kept.on("w1")].map(({ set: { id } }) => id);
  dfs.accept({ type: "DELETE_PATH", path: "first", recursive: false, condition: {} });
  dfs.accept({ type: "EXPIRE", sessionIdleMs: 1 });
  dfs.accept(dfs.put("second", [dfs.chunk(["w3", "w4", "w5"])]));
  dfs.accept(dfs.put("third", [dfs.chunk(["w3", "w4", "w5"])]));
  catchUp();
  expect([...kept.on("w1")]).toEqual([]);
  expect([...kept.on("w4")].map(({ set: { id, chunkCount } }) => [id, chunkCount])).toEqual([[before as number, 2]]);
});

test("what is touched and then undone with its transaction is not told", () => {
  const dfs = new MetadataHarness(WORKERS);
  const told: unknown[] = [];
  dfs.metadata.onSetsTouched = (touched) => told.push(touched);
  const { index } = dfs.metadata.applied();
  const proposal = { command: dfs.put("f"), sessionId: 0, seq: 0, lowestUnacked: 0, idempotencyKey: null };
  const granted = dfs.metadata.applied().index;
  expect(granted).toBe(index + 1);
  const env = { index: granted + 1, term: 1, logTime: 0, wallTime: 0 };
  const outOfTurn = { proposal, env: { ...env, index: granted + 7 } };
  expect(() => dfs.metadata.apply([{ proposal, env }, outOfTurn])).toThrow("one after the other");
  expect(told).toEqual([]);
  dfs.metadata.apply([{ proposal, env }]);
  expect(told).toHaveLength(1);
});

test("a set that changed without a word is found by the slow look at everything, and so is one that is gone", () => {
  const kept = new KeptVerdicts(2);
  for (const id of WORKERS) kept.workerChanged(id, standing());
  const stored = [set(1, ["w1", "w2", "w3"]), set(2, ["w2", "w3", "w4"])];
  kept.reset(stored);
  kept.compare(stored.slice(0, 1), false);
  kept.compare(stored.slice(1), true);
  for (const wrong of [
    [set(1, ["w1", "w2", "w3"], 2), set(2, ["w2", "w3", "w4"])],
    [set(1, ["w1", "w2", "w5"]), set(2, ["w2", "w3", "w4"])],
    [set(1, ["w1", "w2", "w3"])],
    [...stored, set(3, ["w1"])],
  ]) {
    expect(() => kept.compare(wrong, true)).toThrow(InvariantBroken);
    kept.reset(wrong);
    kept.compare(wrong, true);
    kept.reset(stored);
    kept.compare(stored, true);
  }
});

let cluster: ManualCluster | null = null;
afterEach(async () => {
  await cluster?.stop();
  cluster = null;
});

test("a leader whose kept verdicts are wrong says so within ten seconds, and is right again", async () => {
  cluster = await ManualCluster.start({ zones: ["a", "b", "c"] });
  await cluster.file("f", [1, 2, 3]);
  expect((await cluster.state()).redundancy.chunks).toBe(1);
  const broken: string[] = [];
  const forget = whenBroken(({ claim, isMended }) => broken.push(`${claim}${isMended ? "" : ", and ends"}`));
  (cluster.engine.store as SqliteMetadata).prepare("UPDATE replica_sets SET chunk_count = chunk_count + 5").run();
  expect((await cluster.state()).redundancy.chunks).toBe(1);
  await cluster.pass(10_000);
  forget();
  expect(broken).toEqual(["redundancy: kept verdicts are those of a look at everything"]);
  expect((await cluster.state()).redundancy).toMatchObject({ chunks: 6, full: 6 });
});
