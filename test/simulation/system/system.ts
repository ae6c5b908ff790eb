/**
 * A whole cluster of shipped nodes on simulated computers: masters, workers, gateways and clients, in one thread, under
 * one seed. Their files are real, in a folder of this life. See `globals.ts` for what is simulated beneath them.
 */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import type { RaftMetadata } from "../../../actors/master/group/raft-metadata.ts";
import { type Master, startMaster } from "../../../actors/master/host.ts";
import type { Config } from "../../../actors/messages/config.ts";
import { checkConfig, loadConfig } from "../../../actors/node/config.ts";
import { listenOptions } from "../../../actors/node/http/server-options.ts";
import { ExitCode } from "../../../actors/node/lifecycle.ts";
import { createLogger } from "../../../actors/node/log.ts";
import { whenBroken } from "../../../actors/rules/invariant.ts";
import { startWorker, type WorkerNode } from "../../../actors/worker/host.ts";
import { SqliteMetadata } from "../../../databases/metadata/sqlite-metadata.ts";
import { openBackend } from "../../../gateway/backend.ts";
import type { Backend } from "../../../gateway/ports/backend.ts";
import { createGatewayServer } from "../../../gateway/server.ts";
import { RecordedLoad } from "../../support/recorded-load.ts";
import { Violation } from "../raft-checks.ts";
import type { World } from "../world.ts";
import { Computer, currentProgram, Program, settle, surround } from "./computer.ts";
import { Network } from "./network.ts";
import type { SystemKnobs } from "./system-knobs.ts";
import { beginTurn } from "./turn-bound.ts";

export type Kind = "master" | "worker" | "gateway" | "client";

export interface Node {
  id: string;
  kind: Kind;
  url: string;
  zone: string;
  computer: Computer;
  directory: string;
  master: Master | null;
  worker: WorkerNode | null;
  gateway: Backend | null;
  /** Started with an empty folder into a group that exists. */
  joins: boolean;
  /** Why it did not start, or ended by itself. */
  ended: string | null;
}

const SECRET = "5".repeat(64);
const FOLDER = process.platform === "linux" ? "/dev/shm" : "/tmp";
/** `LOUD=info` prints what the nodes log. */
const loudness = Bun.env.LOUD === "info" || Bun.env.LOUD === "debug" ? Bun.env.LOUD : "silent";
const everyLog = createLogger("simulated", loudness);
export const BLOCK_BYTES = 16_384;
export const CHUNK_BYTES = 65_536;
const INLINE_BYTES = 4096;
const TINY_BYTES = 512;

export class System {
  readonly config: Config;
  readonly network: Network;
  readonly nodes = new Map<string, Node>();
  readonly load: RecordedLoad;
  /** The first master that ended by itself, and how. */
  masterEnded: string | null = null;
  /** A program that its watchdog or one of its own invariants ended: what it throws may be caught on its way up. */
  violation: Violation | null = null;
  readonly #forgetInvariants: () => void;
  #masters: number;
  readonly folder = mkdtempSync(join(FOLDER, "dfs-life-"));
  /** Called after every event. */
  onEvent: () => void = () => {};
  /** Called as the program, before anything of the node runs. */
  onStart: (node: Node, program: Program) => void = () => {};

  constructor(
    readonly world: World,
    readonly knobs: SystemKnobs,
  ) {
    this.network = new Network(world, knobs);
    this.#masters = knobs.masters;
    surround({
      world,
      request: (from, url, init) => this.network.request(from, url, init),
      serve: (program, port, handle) => this.network.serve(program, port, handle),
      starves: (program, message) => {
        this.violation ??= new Violation("starved", message);
        program.end(ExitCode.starved);
      },
    });
    this.#forgetInvariants = whenBroken(({ message }) => {
      const program = currentProgram();
      this.violation ??= new Violation("invariant", `${program?.computer.id ?? "no node"}: ${message}`);
      program?.end(ExitCode.invariantBroken);
    });
    const named = (kind: string, count: number, port: number) =>
      Array.from({ length: count }, (_, n) => ({ id: `${kind}-${n + 1}`, url: `http://127.0.0.1:${port + n}` }));
    const zoned = named("worker", knobs.workers, 7101).map((worker, n) => ({
      ...worker,
      zone: `zone-${n % knobs.zones}`,
    }));
    const shipped = loadConfig();
    this.config = checkConfig({
      ...shipped,
      masters: named("master", knobs.masters, 7001),
      workers: zoned,
      gateways: named("gateway", knobs.gateways, 8080),
      dataDirectory: this.folder,
      chunkSizeBytes: CHUNK_BYTES,
      blockSizeBytes: BLOCK_BYTES,
      inlineChunkBytes: INLINE_BYTES,
      tinyFileBytes: TINY_BYTES,
      replicationFactor: Math.min(3, knobs.workers),
      heartbeatMs: 500,
      suspectAfterMs: 1500,
      deadAfterMs: 4000,
      safeModeMs: 3000,
      uploadLeaseMs: 10_000,
      raft: { heartbeatMs: 100, electionMs: 1000, keepEntries: knobs.keepEntries, maxStaleMs: 5000 },
      repair: { ...shipped.repair, massSilenceMs: 20_000 },
      trash: { keepMs: 5000, deleteGraceMs: 1000 },
      scrub: { intervalMs: knobs.scrubEveryMs, bytesPerSecond: 1 << 20 },
      recording: { ...shipped.recording, enabled: false },
    });
    const random = world.random("load");
    this.load = new RecordedLoad({
      gateways: this.config.gateways,
      pools: 1,
      clientsPerPool: knobs.gateways + knobs.clients,
      readersPerPool: knobs.gateways,
      operationsPerGroup: 60,
      keyed: "all",
      pauseMs: knobs.pauseMs,
      paddingBytes: () => {
        const chance = random();
        // Into the metadata; into the workers' databases; into files; into several chunks.
        if (chance < 0.25) return 0;
        if (chance < 0.5) return TINY_BYTES + random() * (INLINE_BYTES - 2 * TINY_BYTES);
        return chance < 0.85 ? INLINE_BYTES + random() * BLOCK_BYTES * 2 : CHUNK_BYTES + random() * CHUNK_BYTES;
      },
      random,
    });
    for (const { id, url } of this.config.masters) this.#add("master", id, url);
    for (const { id, url, zone } of this.config.workers) this.#add("worker", id, url, zone);
    for (const { id, url } of this.config.gateways) this.#add("gateway", id, url);
    this.#add("client", "clients", "");
  }

  #add(kind: Kind, id: string, url: string, zone = ""): Node {
    const computer = new Computer(id, this.world);
    computer.disk.directory = join(this.folder, id);
    computer.disk.slowestMs = this.knobs.slowestFlushMs;
    computer.rate = 1 + (computer.random() * 2 - 1) * this.knobs.clockDrift;
    const node: Node = {
      id,
      kind,
      url,
      zone,
      computer,
      directory: computer.disk.directory,
      master: null,
      worker: null,
      gateway: null,
      joins: false,
      ended: null,
    };
    this.nodes.set(id, node);
    return node;
  }

  node(id: string): Node {
    return this.nodes.get(id) as Node;
  }

  of(kind: Kind): Node[] {
    return [...this.nodes.values()].filter((node) => node.kind === kind);
  }

  isUp = ({ computer }: Node): boolean => computer.program?.isAlive ?? false;

  /** The engines of the masters that run. */
  engines(): { node: Node; engine: RaftMetadata }[] {
    return this.of("master").flatMap((node) =>
      node.master && this.isUp(node) ? [{ node, engine: node.master.metadata }] : [],
    );
  }

  leader(): Node | null {
    const leading = this.engines().filter(({ engine }) => engine.raft.role === "leader");
    return leading.sort((a, b) => b.engine.term - a.engine.term)[0]?.node ?? null;
  }

  boot(): void {
    beginTurn();
    for (const node of this.nodes.values()) if (node.kind !== "client") this.start(node);
    settle();
  }

  start(node: Node): void {
    if (this.isUp(node)) return;
    const program = new Program(node.computer);
    node.computer.program = program;
    node.ended = null;
    mkdirSync(node.directory, { recursive: true });
    program.onEnd.push(() => {
      node.ended ??= `exit ${program.exitCode}`;
      if (node.kind === "master" && program.exitCode !== null) this.masterEnded ??= `${node.id}: ${node.ended}`;
      node.computer.disk.closeAll();
      node.master = null;
      node.worker = null;
      node.gateway = null;
    });
    program.within(() => {
      this.onStart(node, program);
      this.#run(node).catch((error: Error) => {
        if (!program.isAlive) return;
        node.ended = error.message;
        program.end(1);
      });
    });
    settle();
  }

  async #run(node: Node): Promise<void> {
    const { id, url, zone, directory } = node;
    const { config } = this;
    const log = everyLog.child({ node: id });
    const program = node.computer.program as Program;
    if (node.kind === "master") {
      const { joins } = node;
      const master = await startMaster({
        config,
        nodeId: id,
        url,
        dataDirectory: directory,
        secret: SECRET,
        log,
        joins,
      });
      if (program.isAlive) node.master = master;
    } else if (node.kind === "worker") {
      const worker = await startWorker({
        id,
        url,
        zone,
        directory,
        secret: SECRET,
        config,
        log,
        capacityBytes: 1 << 30,
        rhythm: { reconcilePauseMs: 2000, sweepMs: 1000, idleAfterMs: 5000, probeMs: 2000 },
      });
      if (program.isAlive) node.worker = worker;
    } else if (node.kind === "gateway") {
      const backend = openBackend({ config, gatewayId: id, secret: SECRET, log });
      node.gateway = backend;
      createGatewayServer({ id, config, backend, log, token: null, stopping: false }).listen(listenOptions(url));
    } else this.load.start();
  }

  /** As by `kill -9`; or by a loss of power, which also takes what was not flushed. */
  kill(node: Node, power = false): void {
    if (!this.isUp(node)) return;
    node.ended = power ? "power lost" : "killed";
    if (power) node.computer.disk.losePower();
    node.computer.program?.end(null);
    node.computer.pausedUntil = 0;
  }

  /** Takes everything from its disk; it must be down. */
  wipe(node: Node): void {
    rmSync(node.directory, { recursive: true, force: true });
  }

  /** Another master in the place of one that is gone for good. */
  succeed(master: Node): Node {
    this.nodes.delete(master.id);
    const successor = this.#add("master", `master-${++this.#masters}`, master.url);
    successor.joins = true;
    return successor;
  }

  pause(node: Node, ms: number): void {
    node.computer.pausedUntil = this.world.now + ms;
  }

  run(until: number): void {
    beginTurn();
    this.world.run(until, () => {
      settle();
      this.onEvent();
      beginTurn();
    });
  }

  close(): void {
    for (const node of this.nodes.values()) this.kill(node);
    settle();
    this.#forgetInvariants();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

/** From here on, copies of the state beside the one in use are made at once: threads are outside the simulated world. */
export function copyWithoutThreads(): void {
  SqliteMetadata.prototype.copyTo = async function (this: SqliteMetadata, path: string) {
    this.commit();
    this.prepare("VACUUM INTO ?").run(path);
    const copy = new SqliteMetadata(path);
    const { index, term } = copy.applied();
    copy.close();
    return { index, term };
  };
}

/** The state behind an engine, for checks that ask it in SQL. */
export const sqliteOf = (engine: RaftMetadata): SqliteMetadata => engine.store as SqliteMetadata;
