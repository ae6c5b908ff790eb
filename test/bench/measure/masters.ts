/**
 * What one master does in a second, and what three do that must agree: creates of empty files, strong stats and strong
 * pages of a listing. Told apart by CPU, for on few processors all nodes and the load share them. Each is asked for over
 * the command path, as a gateway asks, and then once more over REST.
 */
import { loadSecret } from "../../../actors/node/identity/secret.ts";
import type { RealCluster } from "../../support/real-cluster.ts";
import { type ClusterWork, loadCluster } from "../cluster-work.ts";
import type { CommandPathResult, CommandPathTask } from "../load/command-path.ts";
import type { ManyFilesResult, ManyFilesTask } from "../load/many-files.ts";
import { type ApartMeasurement, type ApartSession, type Figure, figuresOf } from "../measurement.ts";
import { eachOf, type NodeKind } from "../spent-cpu.ts";

const CONCURRENCY = 128;
const PAGE_READERS = 4;
const PAGE_SIZE = 1000;
const DIRECTORY = "bench/empty";

interface Spent<Result> extends ClusterWork<Result> {
  count: number;
  perSecond: number;
  /** Milliseconds of CPU for one; null where the system does not tell. */
  leaderMs: number | null;
  /** The mean of the others; null also where there are none. */
  followerMs: number | null;
  loadMs: number;
}

/** One group of masters under load. */
class Group {
  readonly #session: ApartSession;
  readonly #cluster: RealCluster;
  readonly #count: number;
  readonly #secret: string;

  constructor(session: ApartSession, cluster: RealCluster, count: number) {
    this.#session = session;
    this.#cluster = cluster;
    this.#count = count;
    this.#secret = loadSecret(cluster.config.dataDirectory, {});
  }

  async #spend<Result>(count: number, work: () => Promise<ClusterWork<Result>>): Promise<Spent<Result>> {
    const done = await work();
    const each = (kind: NodeKind): number | null => {
      const seconds = eachOf(done.spent, kind);
      return seconds === null ? null : (1000 * seconds) / count;
    };
    return {
      ...done,
      count,
      perSecond: count / done.seconds,
      leaderMs: each("leader"),
      followerMs: each("follower"),
      loadMs: (1000 * done.cpuSeconds) / count,
    };
  }

  #commands(task: Pick<CommandPathTask, "verb" | "directory" | "count" | "concurrency">) {
    this.#session.say(`${this.#count} of them: ${task.count} × ${task.verb}, ${task.concurrency} at a time`);
    return this.#spend(task.count, () =>
      loadCluster<CommandPathTask, CommandPathResult>(this.#cluster, "load/command-path.ts", {
        masters: this.#cluster.config.masters,
        secret: this.#secret,
        pageSize: PAGE_SIZE,
        names: this.#session.sizes.created,
        ...task,
      }),
    );
  }

  #rest(verb: "PUT" | "HEAD", directory: string, count: number) {
    this.#session.say(`${this.#count} of them: ${count} × ${verb} over REST`);
    return this.#spend(count, () =>
      loadCluster<ManyFilesTask, ManyFilesResult>(this.#cluster, "load/many-files.ts", {
        verb,
        url: this.#cluster.url,
        directory,
        count,
        sizeBytes: 0,
        concurrency: CONCURRENCY,
      }),
    );
  }

  async figures(): Promise<Figure[]> {
    const { created, stats, listPages } = this.#session.sizes;
    const warmUp = Math.ceil(created / 2);
    await this.#commands({ verb: "create", directory: "bench/warm-up", count: warmUp, concurrency: CONCURRENCY });
    await this.#rest("PUT", "bench/rest-warm-up", Math.ceil(warmUp / 2));
    const alone = await this.#commands({
      verb: "create",
      directory: "bench/alone",
      count: Math.ceil(created / 20),
      concurrency: 1,
    });
    const many = { directory: DIRECTORY, concurrency: CONCURRENCY };
    const create = await this.#commands({ verb: "create", count: created, ...many });
    await this.#commands({ verb: "stat", count: Math.ceil(created / 4), ...many });
    const stat = await this.#commands({ verb: "stat", count: stats, ...many });
    const list = await this.#commands({ verb: "list", ...many, count: listPages, concurrency: PAGE_READERS });
    const restCreate = await this.#rest("PUT", "bench/rest", created);
    const restStat = await this.#rest("HEAD", "bench/rest", created);
    return [
      ...this.#table("create", "creates", create),
      ...figuresOf(
        this.#session,
        this.#figure("create.p50", "commit under load, p50", create.result.latency.p50Ms, "ms"),
        this.#figure("create.p99", "commit under load, p99", create.result.latency.p99Ms, "ms"),
        this.#figure("alone.p50", "commit alone, p50", alone.result.latency.p50Ms, "ms"),
        this.#figure("alone.p99", "commit alone, p99", alone.result.latency.p99Ms, "ms"),
      ),
      ...this.#table("stat", "strong stats", stat),
      ...this.#table("list", "pages", list),
      ...figuresOf(
        this.#session,
        this.#figure("rest.create.rate", "creates over REST", restCreate.perSecond, "/s", `${CONCURRENCY} at a time`),
        this.#figure("rest.create.p99", "creates over REST, p99", restCreate.result.latency.p99Ms, "ms"),
        this.#figure("rest.stat.rate", "strong stats over REST", restStat.perSecond, "/s"),
      ),
    ];
  }

  #figure(id: string, label: string, value: number | null, unit: string, note?: string): Omit<Figure, "place"> {
    const whose = this.#count === 1 ? "1 master" : `${this.#count} masters`;
    return { id: `masters.${this.#count}.${id}`, label: `${whose}: ${label}`, value, unit, note };
  }

  #table(id: string, label: string, spent: Spent<CommandPathResult>): Figure[] {
    const { leaderMs, followerMs, loadMs } = spent;
    const note = id === "list" ? `${PAGE_SIZE} names each, ${PAGE_READERS} at a time` : `${CONCURRENCY} at a time`;
    const figures = [
      this.#figure(`${id}.rate`, label, spent.perSecond, "/s", note),
      this.#figure(`${id}.leaderCpu`, `${label}, leader's CPU`, leaderMs, "ms each"),
      this.#figure(`${id}.leaderRate`, `${label} per s of leader's CPU`, leaderMs && 1000 / leaderMs, "/s"),
    ];
    if (followerMs !== null)
      figures.push(this.#figure(`${id}.followerCpu`, `${label}, a follower's CPU`, followerMs, "ms each"));
    figures.push(this.#figure(`${id}.loadCpu`, `${label}, the load's CPU`, loadMs, "ms each"));
    return figuresOf(this.#session, ...figures);
  }
}

async function runApart(session: ApartSession): Promise<Figure[]> {
  const figures: Figure[] = [];
  for (const masters of [1, 3])
    figures.push(
      ...(await session.withClusters([{ masters, workers: 2 }], (cluster) =>
        new Group(session, cluster, masters).figures(),
      )),
    );
  return figures;
}

export const masters: ApartMeasurement = { name: "masters", title: "One master, and three", where: "both", runApart };
