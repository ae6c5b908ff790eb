/** What a gateway concludes from its masters' last words, and how long a request waits by that. */
import { describe, expect, test } from "bun:test";
import type { MasterStatusAnswer } from "../../actors/messages/master.ts";
import { type Outlook, outlookOf, type Sighting } from "../../gateway/nodes/outlook.ts";
import { type Effort, patienceMs } from "../../gateway/nodes/patience.ts";

const NOW = 100_000;
const GROUP = ["m1", "m2", "m3"];
const configuration = { voters: [GROUP], learners: [] };

type Told = Partial<MasterStatusAnswer> | "refuses" | "silent" | "slow" | "not asked" | "just asked";

function sighting(id: string, told: Told): Sighting {
  const never = Number.NEGATIVE_INFINITY;
  const base = {
    id,
    url: `http://${id}`,
    askedAt: NOW - 100,
    isOpen: false,
    isSpoiled: false,
    silentSince: null,
    answeredAt: NOW - 50,
    failure: null,
  };
  if (told === "not asked") return { ...base, askedAt: never, answeredAt: never, status: null };
  const open = { ...base, isOpen: true, answeredAt: never, status: null };
  if (told === "just asked") return { ...open, silentSince: NOW - 100 };
  if (told === "slow") return { ...open, askedAt: NOW - 600, silentSince: NOW - 600 };
  if (told === "silent") return { ...open, askedAt: NOW - 600, silentSince: NOW - 1600 };
  if (told === "refuses") return { ...base, status: null, failure: "takes no connection" };
  const status = { id, url: base.url, role: "follower", term: 1, leader: null, configuration, ...told };
  return { ...base, status: status as MasterStatusAnswer };
}

const look = (...told: Told[]): Outlook =>
  outlookOf(
    told.map((one, n) => sighting(GROUP[n] as string, one)),
    NOW,
  );
const kindOf = (...told: Told[]): string => look(...told).kind;

const follower = (leader: string | null, more: Partial<MasterStatusAnswer> = {}) => ({
  leader,
  leaderlessMs: leader === null ? 300 : 0,
  hearsMajority: true,
  passesOn: true,
  ...more,
});
const alone = follower(null, { role: "precandidate", hearsMajority: false, leaderlessMs: 2500 });

describe("F13. a gateway tells an election under way from masters that can elect none", () => {
  test("who leads by its own account, in the latest term, leads", () => {
    expect(look({ role: "leader", term: 4 }, { role: "leader", term: 5 }, "silent")).toEqual({
      kind: "leads",
      url: "http://m2",
    });
  });

  test("S3. a master that leads in a term out of all others' reach is not believed", () => {
    expect(look({ role: "leader", term: 2 ** 40 }, { role: "leader", term: 5 }, follower("m2", { term: 5 }))).toEqual({
      kind: "leads",
      url: "http://m2",
    });
  });

  test("masters that hear each other and have none are electing, unless they have been at it for very long", () => {
    expect(kindOf("refuses", follower(null), follower(null))).toBe("electing");
    expect(kindOf("silent", "silent", follower(null))).toBe("electing");
    const long = follower(null, { leaderlessMs: 60_000 });
    expect(kindOf("refuses", long, long)).toBe("none");
  });

  test("a master that hears no majority elects nobody; nor do masters that do not answer", () => {
    expect(look("refuses", "silent", alone)).toEqual({
      kind: "none",
      why: "m1 takes no connection, m2 does not answer, m3 hears no majority of the masters",
    });
    expect(kindOf("silent", "silent", "silent")).toBe("none");
    expect(kindOf("refuses", "refuses", "refuses")).toBe("none");
  });

  test("a master of an older program, which does not say whom it hears, counts as far as this gateway hears the others", () => {
    const old = { leader: null };
    expect(kindOf("refuses", old, old)).toBe("electing");
    expect(kindOf("refuses", "refuses", old)).toBe("none");
  });

  test("before all have had time to answer, nothing is concluded", () => {
    for (const pending of ["not asked", "just asked", "slow"] as const)
      expect(kindOf(pending, alone, alone)).toBe("asking");
  });

  test("without hope a request waits two seconds at most, or what its client asked for; a transfer under way, or a command that may have happened, waits on", () => {
    const none: Outlook = { kind: "none", why: "" };
    const wait = (effort: Partial<Effort>, outlook: Outlook = none) =>
      patienceMs({ waitMs: null, isCommand: false, isUnclear: false, ...effort }, outlook);
    expect(wait({})).toBeLessThan(2000);
    expect(wait({ isCommand: true })).toBeLessThan(2000);
    expect(wait({ waitMs: 30_000 })).toBe(30_000);
    expect(wait({ waitMs: 0 })).toBe(0);
    expect(wait({ underWay: true, waitMs: 0 })).toBeGreaterThan(10_000);
    expect(wait({ isCommand: true, isUnclear: true })).toBeGreaterThan(10_000);
    expect(wait({}, { kind: "electing" })).toBeGreaterThan(5000);
  });
});

describe("F14. a gateway that is cut off from the leader finds the way through another master", () => {
  test("a master that follows the leader passes on, if its program can", () => {
    for (const cut of ["slow", "silent", "refuses"] as const)
      expect(look(cut, follower("m1"), follower("m1"))).toEqual({ kind: "behind", leader: "m1", via: "http://m2" });
    const old = follower("m1", { passesOn: undefined });
    expect(look("silent", old, follower("m1"))).toMatchObject({ via: "http://m3" });
    expect(look("silent", old, old)).toEqual({
      kind: "none",
      why: "m2 follows m1, which does not answer this gateway",
    });
  });

  test("no other master is asked before the leader itself has had time to answer, nor if it does answer", () => {
    expect(kindOf("just asked", follower("m1"), follower("m1"))).toBe("asking");
    expect(kindOf({ role: "leader" }, follower("m1"), follower("m1"))).toBe("leads");
    expect(kindOf(follower(null), follower("m1"), follower("m1"))).toBe("electing");
  });
});
