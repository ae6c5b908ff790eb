/**
 * Trouble, planned from the seed before anything happens: a list of what is done when, which can be made shorter to find
 * what matters. Who it hits is decided by the role that somebody has at that moment.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pick } from "../../support/random.ts";
import type { World } from "../world.ts";
import type { Node, System } from "./system.ts";
import type { SystemChecks } from "./system-checks.ts";
import type { SystemKnobs } from "./system-knobs.ts";

const KINDS = [
  "kill",
  "power",
  "blackout",
  "pause",
  "isolate",
  "halves",
  "oneWay",
  "minorityLeads",
  "cutOffGateway",
  "slowDisk",
  "fullDisk",
  "failingDisk",
  "wipeWorker",
  "wipeMaster",
  "corrupt",
  "transfer",
  "drain",
  "maintenance",
  "clock",
  "litter",
] as const;
export type TroubleKind = (typeof KINDS)[number];

/** One thing that goes wrong. */
export interface Trouble {
  atMs: number;
  kind: TroubleKind;
  /** In [0, 1): whom it hits among those whom it may. */
  whom: number;
  /** For so long, ms. */
  forMs: number;
}

const LITTER_FILES = 40;
/** Too many for a worker's database: they become files. */
const LITTER_BYTES = 5000;
/** Of troubles that hit one node, so many hit the master that leads. */
const LEADERS_SHARE = 0.35;

export function planTroubles(world: World, knobs: SystemKnobs, fromMs: number, untilMs: number): Trouble[] {
  const random = world.random("trouble");
  const plan: Trouble[] = [];
  const every = (meanMs: number, kinds: TroubleKind[], longestMs: number): void => {
    if (meanMs === 0) return;
    for (let atMs = fromMs; ; ) {
      atMs += -Math.log(1 - random()) * meanMs;
      if (atMs > untilMs) return;
      plan.push({ atMs, kind: pick(random, kinds), whom: random(), forMs: 50 + random() ** 2 * longestMs });
    }
  };
  every(knobs.crashEveryMs, ["kill"], 6000);
  every(knobs.powerEveryMs, ["power", "power", "power", "blackout"], 6000);
  every(knobs.pauseEveryMs, ["pause"], 8000);
  every(knobs.cutEveryMs, ["isolate", "halves", "oneWay", "minorityLeads", "cutOffGateway"], 8000);
  every(knobs.diskEveryMs, ["slowDisk", "fullDisk", "failingDisk"], 6000);
  every(knobs.wipeEveryMs, ["wipeWorker"], 3000);
  every(knobs.corruptEveryMs, ["corrupt"], 1);
  every(knobs.membersEveryMs, ["wipeMaster"], 3000);
  every(knobs.transferEveryMs, ["transfer"], 1);
  every(knobs.modeEveryMs, ["drain", "maintenance"], 8000);
  every(knobs.clockEveryMs, ["clock"], 1);
  every(knobs.litterEveryMs, ["litter"], 4000);
  return plan.sort((a, b) => a.atMs - b.atMs);
}

export class Nemesis {
  readonly #system: System;
  readonly #checks: SystemChecks;
  readonly #killer: () => number;
  #isOver = false;
  done: Partial<Record<TroubleKind | "newLeader", number>> = {};

  constructor(system: System, checks: SystemChecks, plan: readonly Trouble[]) {
    this.#system = system;
    this.#checks = checks;
    this.#killer = system.world.random("new leaders");
    for (const trouble of plan)
      system.world.schedule(trouble.atMs, () => {
        if (!this.#isOver) this.#do(trouble);
      });
  }

  /** From now on nothing goes wrong; what was broken stays so. */
  stop(): void {
    this.#isOver = true;
  }

  #count(kind: TroubleKind | "newLeader"): void {
    this.done[kind] = (this.done[kind] ?? 0) + 1;
  }

  newLeader(node: Node): void {
    const { world, knobs } = this.#system;
    if (this.#isOver || this.#killer() >= knobs.newLeaderKiller) return;
    world.schedule(this.#killer() * 80, () => {
      if (this.#isOver) return;
      this.#count("newLeader");
      this.#kill(node, false, 500 + this.#killer() * 3000);
    });
  }

  #do({ kind, whom, forMs }: Trouble): void {
    const system = this.#system;
    const { world, network } = system;
    const among = (nodes: Node[]): Node | undefined => nodes[Math.floor(whom * nodes.length)];
    const running = [...system.nodes.values()].filter((node) => node.kind !== "client" && system.isUp(node));
    // Clients are on every side.
    const ids = [...system.nodes.values()].filter(({ kind }) => kind !== "client").map(({ id }) => id);
    const victim = whom < LEADERS_SHARE ? (system.leader() ?? among(running)) : among(running);
    if (!victim) return;
    this.#count(kind);
    const cut = (isCut: (from: string, to: string) => boolean): void => {
      const links = ids.flatMap((from) => ids.filter((to) => isCut(from, to)).map((to) => `${from}>${to}`));
      world.schedule(forMs, network.cut(links));
    };
    switch (kind) {
      case "kill":
        this.#kill(victim, false, forMs);
        return;
      case "power":
        this.#kill(victim, true, forMs);
        return;
      case "blackout":
        for (const node of running.filter(({ kind }) => kind !== "gateway")) this.#kill(node, true, forMs * (1 + whom));
        return;
      case "pause":
        system.pause(victim, forMs);
        return;
      case "isolate":
        cut((from, to) => from === victim.id || to === victim.id);
        return;
      case "oneWay":
        cut((from, to) => ((whom * 100) % 1 < 0.5 ? from === victim.id : to === victim.id));
        return;
      // The leader keeps a gateway, and through it clients who would believe it.
      case "minorityLeads": {
        const side = new Set([system.leader()?.id, among(system.of("gateway"))?.id]);
        cut((from, to) => side.has(from) !== side.has(to));
        return;
      }
      // From the leader alone: the way through the others is open.
      case "cutOffGateway": {
        const ends = [system.leader()?.id, among(system.of("gateway"))?.id];
        cut((from, to) => from !== to && ends.includes(from) && ends.includes(to));
        return;
      }
      case "halves": {
        const side = (id: string): boolean => Bun.hash.crc32(`${id} ${whom}`) % 2 === 0;
        cut((from, to) => side(from) !== side(to));
        return;
      }
      case "slowDisk": {
        const { disk } = victim.computer;
        const before = disk.slowestMs;
        disk.slowestMs = 1500;
        world.schedule(forMs, () => {
          disk.slowestMs = before;
        });
        return;
      }
      case "fullDisk":
      case "failingDisk": {
        const worker = among(system.of("worker"));
        if (!worker) return;
        worker.computer.disk.failure = kind === "fullDisk" ? "ENOSPC" : "EIO";
        world.schedule(forMs, () => {
          worker.computer.disk.failure = null;
        });
        return;
      }
      case "wipeWorker":
        this.#wipeWorker(among(system.of("worker")) as Node, forMs);
        return;
      case "wipeMaster":
        this.#replaceMaster(among(system.of("master")) as Node, forMs);
        return;
      case "corrupt":
        this.#corrupt(among(system.of("worker")) as Node, whom);
        return;
      case "transfer":
        this.#insist([["/cluster/masters", { transfer: (among(system.of("master")) as Node).id }]], 1);
        return;
      case "drain":
      case "maintenance": {
        const worker = among(system.of("worker")) as Node;
        const mode = kind === "drain" ? "draining" : "maintenance";
        const path = `/cluster/workers/${worker.id}`;
        const answered = this.#insist([[path, { mode }]], 1);
        world.schedule(forMs, () => answered.then(() => this.#insist([[path, { mode: "active" }]])));
        return;
      }
      case "clock":
        victim.computer.wallOffset += (whom - 0.5) * 20_000;
        return;
      case "litter":
        void this.#litter(`litter-${world.events}`, forMs);
    }
  }

  #kill(node: Node, power: boolean, backAfterMs: number): void {
    const system = this.#system;
    if (!system.isUp(node)) return;
    system.kill(node, power);
    system.world.schedule(backAfterMs, () => system.start(node));
  }

  /** Takes a worker's disk, if all on it has two good copies elsewhere, or is being written and has lost none yet. */
  #wipeWorker(worker: Node, backAfterMs: number): void {
    const system = this.#system;
    const chunks = this.#checks.committed();
    if (!chunks) return;
    const mine = chunks.filter((chunk) => this.#checks.isGood(worker, chunk));
    if (mine.some((chunk) => this.#checks.copiesOf(chunk).length < 3)) return;
    const ids = new Set(mine.map(({ id }) => id));
    if (this.#checks.sealedOn(worker).some((id) => !ids.has(id) && this.#checks.isHarmed(id))) return;
    system.kill(worker);
    this.#checks.wiped(worker);
    system.wipe(worker);
    system.world.schedule(backAfterMs, () => system.start(worker));
  }

  /** Flips a bit of a chunk file, if there are two good copies elsewhere. */
  #corrupt(worker: Node, chance: number): void {
    const folder = join(worker.directory, "chunks");
    const chunks = (this.#checks.committed() ?? []).filter((chunk) => this.#checks.isGood(worker, chunk));
    const files = new Set(chunks.length > 0 ? readdirSync(folder, { recursive: true }).map(String) : []);
    const filed = chunks.filter(({ id }) => files.has(this.#checks.fileName(id)));
    const chunk = filed[Math.floor(chance * filed.length)];
    if (!chunk || this.#checks.copiesOf(chunk).length < 3) return;
    const path = join(folder, this.#checks.fileName(chunk.id));
    const bytes = readFileSync(path);
    const at = Math.floor(chance * chunk.length);
    bytes[at] = (bytes[at] as number) ^ 1;
    writeFileSync(path, bytes);
    this.#checks.harm(chunk.id, worker);
  }

  /** A master loses its disk: it is removed, and one with another id and an empty folder takes its place. */
  #replaceMaster(master: Node, backAfterMs: number): void {
    const system = this.#system;
    const masters = system.of("master");
    if (masters.some((node) => !system.isUp(node) || node.joins) || !system.leader()) return;
    system.kill(master);
    system.wipe(master);
    const { id } = system.succeed(master);
    system.world.schedule(backAfterMs, () => system.start(system.node(id)));
    this.#insist([
      ["/cluster/masters", { remove: master.id }],
      ["/cluster/masters", { add: id, url: master.url }],
    ]);
  }

  /** Many files come, and go again all at once. */
  async #litter(directory: string, forMs: number): Promise<void> {
    await this.#system.node("clients").computer.program?.within(async () => {
      const body = ".".repeat(LITTER_BYTES);
      const paths = Array.from({ length: LITTER_FILES }, (_, n) => `/files/${directory}/${n}`);
      await Promise.all(paths.map((path) => this.#ask(path, { method: "PUT", body })));
      await Bun.sleep(forMs);
      const remove = () => this.#ask(`/files/${directory}?recursive=true`, { method: "DELETE" });
      for (let tries = 0; tries < 200 && !(await remove()); tries++) await Bun.sleep(500);
    });
  }

  /** Gives orders as a person would, one after the other, each again and again until it is done. */
  async #insist(orders: [path: string, body: object][], mostTries = 200): Promise<void> {
    await this.#system.node("clients").computer.program?.within(async () => {
      for (const [path, body] of orders)
        for (let tries = 0; tries < mostTries && !(await this.#order(path, body)); tries++) await Bun.sleep(500);
    });
  }

  #order = (path: string, body: object): Promise<boolean> =>
    this.#ask(path, {
      method: "POST",
      body: JSON.stringify(body),
      headers: { "content-type": "application/json" },
    });

  /** @returns true if it was done */
  async #ask(path: string, request: RequestInit): Promise<boolean> {
    const gateway = this.#system.of("gateway")[0] as Node;
    return fetch(`${gateway.url}${path}`, { ...request, signal: AbortSignal.timeout(20_000) }).then(
      ({ ok }) => ok,
      () => false,
    );
  }
}
