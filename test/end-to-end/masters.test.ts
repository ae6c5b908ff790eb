/** Three masters of real processes: leaders are killed, frozen and cut off under load, and nothing acknowledged is lost. */
import { afterEach, describe, expect, test } from "bun:test";
import { RealCluster } from "../support/real-cluster.ts";

const MINUTE = 60_000;
const ROUNDS = 20;

let cluster: RealCluster;
afterEach(() => cluster?.stop());

interface Master {
  id: string;
  role: string;
  term: number;
}

async function leader(): Promise<string> {
  const { masters } = (await (await fetch(`${cluster.url}/cluster`)).json()) as { masters: Master[] };
  const found = masters.find(({ role }) => role === "leader");
  if (!found) throw new Error("nobody leads");
  return found.id;
}

/** What one writer did to its own file, in order; it never has two requests under way. */
interface Write {
  value: string;
  outcome: "acknowledged" | "unknown" | "refused";
}

/** Puts rising numbers into one file each, reads them back in between, and remembers what it was told. */
class Client {
  readonly writes: Write[] = [];
  staleReads: string[] = [];
  reads = 0;
  /** When acknowledged writes came back, to see how long a failover was felt. */
  readonly acknowledgedAt: number[] = [];
  #stopping = false;
  #running: Promise<void>;

  constructor(readonly path: string) {
    this.#running = this.#run();
  }

  async #run(): Promise<void> {
    for (let n = 1; !this.#stopping; n++) {
      const value = `${this.path}#${n}`;
      const write: Write = { value, outcome: "unknown" };
      this.writes.push(write);
      const response = await fetch(cluster.fileUrl(this.path), { method: "PUT", body: value }).catch(() => null);
      await response?.arrayBuffer().catch(() => null);
      if (response?.ok) {
        write.outcome = "acknowledged";
        this.acknowledgedAt.push(performance.now());
      } else if (response && response.status < 500) write.outcome = "refused";
      if (n % 3 === 0) await this.#read();
      if (n % 10 === 0)
        await fetch(cluster.fileUrl(this.path), { method: "DELETE" }).then(
          (r) => this.#noteDelete(r),
          () => this.#noteDelete(null),
        );
    }
  }

  #noteDelete(response: Response | null): void {
    this.writes.push({ value: "", outcome: response?.ok ? "acknowledged" : "unknown" });
  }

  /** The values that a read may see now: the last acknowledged write, or any of unknown outcome after it. */
  possible(): Set<string> {
    const last = this.writes.findLastIndex(({ outcome }) => outcome === "acknowledged");
    const open = this.writes.slice(Math.max(0, last)).filter(({ outcome }) => outcome !== "refused");
    return new Set([...(last < 0 ? [""] : []), ...open.map(({ value }) => value)]);
  }

  async #read(): Promise<void> {
    const response = await fetch(cluster.fileUrl(this.path)).catch(() => null);
    const value = response?.status === 404 ? "" : response?.ok ? await response.text().catch(() => null) : null;
    await response?.body?.cancel().catch(() => {});
    if (value === null) return;
    this.reads++;
    if (!this.possible().has(value))
      this.staleReads.push(`${this.path} read ${value}, possible ${[...this.possible()]}`);
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#running;
  }

  /** The longest time without an acknowledged write around a moment. */
  gapAround(at: number): number {
    const before = this.acknowledgedAt.findLast((time) => time <= at) ?? at;
    const after = this.acknowledgedAt.find((time) => time > at);
    return after === undefined ? Number.POSITIVE_INFINITY : after - before;
  }
}

const clients = (count: number) => Array.from({ length: count }, (_, n) => new Client(`client-${n}`));

async function expectTruthAfterwards(all: Client[]): Promise<void> {
  for (const client of all) {
    const response = await fetch(cluster.fileUrl(client.path));
    const value = response.status === 404 ? "" : await response.text();
    expect([...client.possible()], client.path).toContain(value);
    expect(client.staleReads).toEqual([]);
  }
}

const summary = (times: number[]): string => {
  const sorted = [...times].sort((a, b) => a - b).map(Math.round);
  return `min ${sorted[0]} ms, median ${sorted[sorted.length >> 1]} ms, max ${sorted.at(-1)} ms`;
};

describe("three masters", () => {
  test(
    `kill -9 of the leader under load, ${ROUNDS} times: no acknowledged change lost, no stale read, writes resume`,
    async () => {
      cluster = await RealCluster.start({ masters: 3, workers: 3 });
      const all = clients(8);
      await Bun.sleep(1000);
      const gaps: number[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        const victim = await leader();
        const killedAt = performance.now();
        await cluster.kill(victim);
        await cluster.until("another master leads and writes succeed", 20_000, async () => {
          const now = await leader();
          return now !== victim && all.every((client) => Number.isFinite(client.gapAround(killedAt)));
        });
        gaps.push(Math.max(...all.map((client) => client.gapAround(killedAt))));
        cluster.restart(victim);
        await Bun.sleep(400);
      }
      await Promise.all(all.map((client) => client.stop()));
      await expectTruthAfterwards(all);
      const acknowledged = all.reduce((sum, { acknowledgedAt }) => sum + acknowledgedAt.length, 0);
      const reads = all.reduce((sum, client) => sum + client.reads, 0);
      console.log(
        `${ROUNDS} leaders killed; writes back after ${summary(gaps)}; ${acknowledged} writes, ${reads} reads`,
      );
      expect(acknowledged).toBeGreaterThan(100);
    },
    5 * MINUTE,
  );

  test(
    "a leader frozen for a while is replaced, and knows it when it wakes",
    async () => {
      cluster = await RealCluster.start({ masters: 3, workers: 3 });
      const all = clients(4);
      await Bun.sleep(500);
      const frozen = await leader();
      cluster.freeze(frozen);
      await cluster.until("another master leads", 20_000, async () => (await leader()) !== frozen);
      await Bun.sleep(3000);
      cluster.thaw(frozen);
      await Bun.sleep(2000);
      await Promise.all(all.map((client) => client.stop()));
      await expectTruthAfterwards(all);
      await cluster.until("it follows", 10_000, async () => {
        const { masters } = (await (await fetch(`${cluster.url}/cluster`)).json()) as { masters: Master[] };
        return masters.some(({ id, role }) => id === frozen && role === "follower");
      });
    },
    2 * MINUTE,
  );

  test(
    "two of three masters down: writes are refused with the reason; one back, and they succeed again",
    async () => {
      cluster = await RealCluster.start({ masters: 3, workers: 3 });
      await fetch(cluster.fileUrl("kept"), { method: "PUT", body: "kept" });
      await Promise.all([cluster.kill("master-1"), cluster.kill("master-2")]);
      const refused = await fetch(cluster.fileUrl("refused"), { method: "PUT", body: "x" });
      expect(refused.status).toBeGreaterThanOrEqual(503);
      expect(["NO_LEADER", "OUTCOME_UNKNOWN"]).toContain(((await refused.json()) as { code: string }).code);
      cluster.restart("master-2");
      await cluster.until(
        "writes succeed",
        20_000,
        async () => (await fetch(cluster.fileUrl("again"), { method: "PUT", body: "y" })).ok,
      );
      expect(await (await fetch(cluster.fileUrl("kept"))).text()).toBe("kept");
    },
    2 * MINUTE,
  );

  test(
    "a follower that was away catches up and can lead",
    async () => {
      cluster = await RealCluster.start({ masters: 3, workers: 3 });
      const away = (await leader()) === "master-3" ? "master-2" : "master-3";
      await cluster.kill(away);
      for (let n = 0; n < 50; n++) await fetch(cluster.fileUrl(`f${n}`), { method: "PUT", body: String(n) });
      cluster.restart(away);
      await cluster.until("it has caught up", 20_000, async () => {
        const { masters } = (await (await fetch(`${cluster.url}/cluster`)).json()) as {
          masters: (Master & { lag: number })[];
        };
        return masters.some(({ id, role, lag }) => id === away && role === "follower" && lag === 0);
      });
      const others = ["master-1", "master-2", "master-3"].filter((id) => id !== away);
      await cluster.kill(await leader());
      await cluster.until("someone leads", 20_000, async () => (await leader()) !== "");
      for (let n = 0; n < 50; n++) expect(await (await fetch(cluster.fileUrl(`f${n}`))).text()).toBe(String(n));
      expect(others).toHaveLength(2);
    },
    2 * MINUTE,
  );
});
