/** The checkers themselves: what they let pass, what they find, and how they say it. */
import { describe, expect, test } from "bun:test";
import { pick, SEED, seeded } from "../support/random.ts";
import { LIMITS, search } from "./black-box.ts";
import { inWords, judgeBlackBox, judgeWitness } from "./check.ts";
import { type FileOp, fileModel, told } from "./file-model.ts";
import { generate, type Shape } from "./generate.ts";
import type { Call } from "./history.ts";
import { partition } from "./partition.ts";
import { checkWitness } from "./witness.ts";

/**
 * A history as it is drawn on paper: a line per client, a column per moment.
 *
 *     a: put x=1 |----|         from the first to the last mark
 *     b: get x         |--?     never answered
 */
function drawn(text: string): Call<FileOp>[] {
  const lines = text.split("\n").filter((line) => line.trim() !== "");
  return lines.map((line) => {
    const [, client, words, lane, outcome] = line.match(/^\s*(\w+): (.+?) +(\|-*[|?])(?: +-> (.*))?$/) as string[];
    const ends = (lane as string).endsWith("|");
    const start = line.indexOf("|");
    return {
      client: client as string,
      op: opOf(words as string),
      call: start,
      return: ends ? line.lastIndexOf("|") : null,
      outcome: ends ? (outcome as string) : null,
    };
  });
}

function opOf(words: string): FileOp {
  const [kind, path = "", to = "", ...rest] = words.split(" ");
  const [name = "", content = ""] = path.split("=");
  if (kind === "put") return { kind, path: name, content, ...(to === "new" ? { ifAbsent: true } : {}) };
  if (kind === "list") return { kind, prefix: path === "*" ? "" : path };
  if (kind === "rename" || kind === "copy") return { kind, path, to, overwrite: rest[0] === "over" };
  return { kind: kind as "get" | "delete", path };
}

const judge = (text: string) => judgeBlackBox(fileModel, drawn(text)).violations;
const right = (text: string): void => expect(judge(text)).toEqual([]);
const wrong = (text: string): void => expect(judge(text)).toHaveLength(1);

describe("the model of files", () => {
  const after = (...ops: string[]): string[] => {
    let state = fileModel.initial;
    return ops.map((words) => {
      const next = fileModel.step(state, opOf(words));
      state = next.state;
      return next.outcome;
    });
  };

  test("answers as the masters do", () => {
    expect(after("get a", "put a=1", "put a=2", "put a=3 new", "get a", "delete a", "delete a", "list *")).toEqual([
      "absent",
      "created",
      "replaced",
      "refused",
      "=2",
      "deleted",
      "absent",
      "[]",
    ]);
    expect(
      after("rename a b", "put a=1", "rename a b", "get a", "put a=2", "rename a b", "rename a b over", "list *"),
    ).toEqual(["absent", "created", "created", "absent", "created", "exists", "replaced", "[b=2]"]);
    expect(after("put d/a=1", "copy d/a d/b", "copy d/a d/b", "put e=2", "list d/", "list d/b")).toEqual([
      "created",
      "created",
      "exists",
      "created",
      "[d/a=1 d/b=1]",
      "[d/b=1]",
    ]);
    const ifMatch = { kind: "put", path: "a", content: "2", ifMatch: "1" } as const;
    expect(fileModel.step(fileModel.initial, ifMatch).outcome).toBe(told.refused);
    expect(fileModel.step(fileModel.step(null, opOf("put a=1")).state, ifMatch).outcome).toBe(told.replaced);
  });
});

describe("histories that are right", () => {
  test("what overlaps may have happened in either order", () => {
    right(`
      a: put x=1  |------|     -> created
      b: get x      |-|        -> absent
      c: get x       |--|      -> =1
      b: get x          |---|  -> =1`);
  });
  test("a change that would change nothing now may still be needed later", () => {
    right(`
      a: put x=1        |-|                    -> created
      a: copy x y           |-|                -> created
      b: copy x y over          |-----|        -> replaced
      c: put y=2                 |-----|       -> replaced
      d: get y                           |-|   -> =1`);
  });
  test("an answer and a call at the same moment overlap", () => {
    right(`
      a: put x=1  |--|      -> created
      b: get x       |---|  -> absent`);
  });
  test("a change without an answer may take effect late, or never", () => {
    right(`
      a: put x=1  |?
      b: get x       |---|            -> absent
      b: get x              |---|     -> =1`);
    right(`
      a: put x=1  |?
      b: get x       |---|            -> absent
      b: get x              |---|     -> absent`);
  });
});

describe("histories that are wrong", () => {
  test("a read of what was replaced before it began", () => {
    wrong(`
      a: put x=1  |--|                 -> created
      a: put x=2       |--|            -> replaced
      b: get x               |--|      -> =1`);
  });
  test("a new value is seen, and after that the old one", () => {
    wrong(`
      a: put x=1  |--|                  -> created
      a: put x=2       |----------|     -> replaced
      b: get x          |-|             -> =2
      c: get x                |-|       -> =1`);
  });
  test("an acknowledged change that is gone", () => {
    wrong(`
      a: put x=1  |--|            -> created
      b: get x          |---|     -> absent`);
  });
  test("a change that was read before it was acknowledged, and then vanishes", () => {
    wrong(`
      a: put x=1  |?
      b: get x       |---|            -> =1
      b: get x              |---|     -> absent`);
  });
  test("two changes that both came first", () => {
    wrong(`
      a: put x=1 new  |---|     -> created
      b: put x=2 new  |---|     -> created`);
  });
  test("a lost update: one of two replaces the other, and is not seen", () => {
    wrong(`
      a: put x=1  |----|           -> created
      b: put x=2  |----|           -> replaced
      c: get x           |--|      -> =1`);
  });
  test("a change that took effect twice", () => {
    wrong(`
      a: put x=1  |-----|                     -> created
      b: put x=2            |--|              -> replaced
      c: get x                    |--|        -> =2
      c: get x                          |--|  -> =1`);
    wrong(`
      a: put x=1  |--|                     -> created
      a: delete x       |--|               -> deleted
      b: put x=2              |--|         -> created
      b: get x                      |--|   -> absent`);
  });
  test("a rename half done: under both names, or under none", () => {
    wrong(`
      a: put x=1     |--|                     -> created
      a: rename x y        |-----------|      -> created
      b: list *               |-----|         -> [x=1 y=1]`);
    wrong(`
      a: put x=1     |--|                     -> created
      a: rename x y        |-----------|      -> created
      b: get x              |-|               -> absent
      b: get y                    |-|         -> absent`);
  });
});

describe("both checks", () => {
  test("histories are taken apart where nothing connects them, and only there", () => {
    const history = drawn(`
      a: put x=1      |-|     -> created
      a: put d/y=2    |-|     -> created
      a: put d/z=3    |-|     -> created
      a: rename p q   |-|     -> absent
      a: put q=4      |-|     -> created
      a: list d/      |-|     -> []
      a: list e/      |-|     -> []`);
    const parts = partition(fileModel, history).map((part) => part.map(({ op }) => fileModel.show(op)));
    expect(parts).toEqual([
      ["put x=1"],
      ["put d/y=2", "put d/z=3", "list d/"],
      ["rename p to q", "put q=4"],
      ["list e/"],
    ]);
  });

  /** Every order of a few operations, and every choice among those without an answer. */
  function existsOrder(calls: Call<FileOp>[], state = fileModel.initial): boolean {
    if (calls.every((one) => one.return === null)) return true;
    return calls.some((one) => {
      if (calls.some((other) => other.return !== null && other.return < one.call)) return false;
      const next = fileModel.step(state, one.op);
      if (one.outcome !== null && next.outcome !== one.outcome) return false;
      return existsOrder(
        calls.filter((other) => other !== one),
        next.state,
      );
    });
  }

  test(`small histories are judged as by trying every order  SEED=${SEED}`, () => {
    const random = seeded(SEED);
    const verdicts = { right: 0, wrong: 0 };
    for (let n = 0; n < 3000; n++) {
      const kinds = n % 2 ? undefined : (["put", "get", "copy", "copy", "rename"] as const);
      const history = generate(random, { operations: 7, clients: 4, paths: 2, unknown: 0.15, kinds });
      for (const one of history) {
        if (one.outcome === null || random() < 0.8) continue;
        const others = history.filter(({ op, outcome }) => outcome !== null && op.kind === one.op.kind);
        one.outcome = pick(random, others).outcome;
      }
      const expected = existsOrder(history);
      verdicts[expected ? "right" : "wrong"]++;
      expect(judgeBlackBox(fileModel, history).violations.length === 0, JSON.stringify(history)).toBe(expected);
      // The log's order is one of all orders: what it proves is right, is right.
      if (judgeWitness(fileModel, history).violations.length === 0) expect(expected).toBe(true);
    }
    expect(Math.min(verdicts.right, verdicts.wrong)).toBeGreaterThan(300);
  });

  const shapes: Shape[] = [
    { operations: 400, clients: 8, paths: 3 },
    { operations: 400, clients: 8, paths: 1, unknown: 0.02 },
    { operations: 400, clients: 8, paths: 4, kinds: ["put", "get", "rename", "delete", "list"] },
  ];
  const unlimited = { ...LIMITS, operations: 1e9, clients: 1e9, unknown: 1e9 };

  test(`what overlaps by chance but was done one by one is right  SEED=${SEED}`, () => {
    const random = seeded(SEED);
    const began = performance.now();
    for (let n = 0; n < 20; n++)
      for (const shape of shapes) {
        const history = generate(random, shape);
        const { violations, undecided } = judgeBlackBox(fileModel, history, unlimited);
        expect([violations, undecided]).toEqual([[], []]);
        expect(judgeWitness(fileModel, history).violations).toEqual([]);
      }
    console.log(`60 right histories of 400 operations: ${Math.round(performance.now() - began)} ms for both checks`);
  });

  test(`one read that shows what was not there is found in any of them  SEED=${SEED}`, () => {
    const random = seeded(SEED + 1);
    const began = performance.now();
    let [undecided, tried] = [0, 0];
    for (let n = 0; n < 3; n++)
      for (const shape of shapes) {
        const history = generate(random, shape);
        const reads = history.filter(({ op, outcome }) => op.kind === "get" && outcome !== null);
        const read = pick(random, reads.slice(0, reads.length >> 1));
        // From the future: its content was written by a call that came later.
        const later = history.find(({ op, call }) => op.kind === "put" && call > (read.return as number));
        read.outcome = told.content((later as { op: { content: string } }).op.content);
        const judged = judgeBlackBox(fileModel, history, { ...unlimited, ms: 2000 });
        tried++;
        if (judged.undecided.length > 0) undecided++;
        else {
          expect(judged.violations).toHaveLength(1);
          expect(judged.violations[0]).toContain(read.outcome);
        }
        expect(judgeWitness(fileModel, history).violations).toHaveLength(1);
      }
    console.log(`${tried} wrong histories: ${Math.round(performance.now() - began)} ms, ${undecided} undecided`);
    expect(undecided).toBeLessThan(tried / 2);
  });
});

describe("the black-box check", () => {
  test("what is beyond its limits is undecided, and counted", () => {
    const shape = { operations: 401, clients: 4, paths: 1 };
    const judged = judgeBlackBox(fileModel, generate(seeded(1), shape));
    expect([judged.parts, judged.undecided, judged.violations]).toEqual([1, ["401 operations"], []]);
    expect(inWords(judged)).toBe("401 operations in 1 parts, the largest of 401; 0 decided, not 401 operations");
    const many = generate(seeded(1), { ...shape, operations: 50, clients: 9 });
    expect(judgeBlackBox(fileModel, many).undecided).toEqual(["9 clients"]);
    let time = 0;
    const wall = search(fileModel, many, { ...LIMITS, clients: 9 }, () => time++ * 10_000);
    expect(wall).toEqual({ found: "limit", which: "5000 ms" });
  });

  test("a violation is shown by the few operations that matter", () => {
    const history = generate(seeded(7), { operations: 300, clients: 6, paths: 3, kinds: ["put", "get"] });
    const [read] = history.filter(({ op, outcome }) => op.kind === "get" && outcome?.startsWith("=")).slice(-1);
    (read as Call<FileOp>).outcome = told.absent;
    const [violation = ""] = judgeBlackBox(fileModel, history).violations;
    expect(violation).toContain("these do not fit any more");
    expect(violation).toContain("→ absent");
    expect(violation.split("\n").length).toBeLessThan(16);
  });
});

describe("the witness check", () => {
  const put = (n: number, index: number | null, call: number, end: number | null): Call<FileOp> => ({
    client: `c${n}`,
    op: { kind: "put", path: "x", content: `v${n}` },
    call,
    return: end,
    outcome: end === null ? null : n === 1 ? told.created : told.replaced,
    index,
  });
  const get = (outcome: string, call: number, end: number, index: number | null = null): Call<FileOp> => ({
    client: "r",
    op: { kind: "get", path: "x" },
    call,
    return: end,
    outcome,
    index,
  });
  const why = (...history: Call<FileOp>[]): string => {
    const found = checkWitness(fileModel, history);
    return found.found === "order" ? "" : found.why;
  };

  test("reads of known and unknown index are placed among the changes", () => {
    expect(why(put(1, 10, 1, 4), put(2, 12, 2, 9), get("absent", 0, 3), get("=v1", 5, 8), get("=v2", 5, 11, 12))).toBe(
      "",
    );
  });
  test("an acknowledged change that is not in the log", () => {
    expect(why(put(1, null, 1, 2))).toContain("the log does not have it");
    expect(why(put(1, null, 1, null))).toBe("");
  });
  test("a log that contradicts what was over before", () => {
    expect(
      why({ ...put(1, 12, 1, 2), outcome: told.replaced }, { ...put(2, 10, 5, 6), outcome: told.created }),
    ).toContain("the log has it before");
  });
  test("an answer that the order of the log does not give", () => {
    expect(why(put(1, 12, 1, 9), { ...put(2, 10, 2, 9), outcome: told.replaced })).toContain("the answer is created");
  });
  test("a stale read, with and without its index", () => {
    const changes = [put(1, 10, 1, 2), put(2, 12, 3, 4)];
    expect(why(...changes, get("=v1", 5, 6))).toContain("there was first [x=v2]");
    expect(why(...changes, get("=v1", 5, 6, 11))).toContain("does not see what was over");
  });
  test("a read that goes back behind an earlier read", () => {
    expect(why(put(1, 10, 1, 2), put(2, 12, 3, 20), get("=v2", 4, 5), get("=v1", 6, 7))).toContain(
      "there was first [x=v2]",
    );
  });
  test("a read of what was called only later", () => {
    expect(why(put(1, 10, 5, 6), get("=v1", 1, 2))).toContain("at last []");
    expect(why(put(1, 10, 5, 6), get("=v1", 1, 2, 10))).toContain("only when it was over");
  });
  test("a change without an answer binds from its call, by its place in the log", () => {
    expect(why(put(1, 10, 1, null), get("=v1", 2, 3))).toBe("");
    expect(why(put(1, 10, 5, null), get("=v1", 2, 3))).toContain("at last []");
  });
  test(`100,000 operations  SEED=${SEED}`, () => {
    const history = generate(seeded(SEED), { operations: 100_000, clients: 50, paths: 40, unknown: 0.01 });
    const began = performance.now();
    const judged = judgeWitness(fileModel, history);
    console.log(`${inWords(judged)}: ${Math.round(performance.now() - began)} ms`);
    expect(judged.violations).toEqual([]);
  });
});
