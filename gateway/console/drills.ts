/**
 * Trouble on purpose: a drill does something bad to a node of this machine, watches what clients notice, and ends with a
 * verdict against budgets. Throughout it writes small files and reads them back, as a client would.
 */
import type { Config } from "../../actors/messages/config.ts";
import { Refusal } from "../../actors/messages/errors.ts";
import type { MasterMailbox } from "../../actors/messages/master.ts";
import type { RecordsMailbox } from "../../actors/messages/records.ts";
import type { Identity } from "../../actors/node/identity/identity.ts";
import type { Logger } from "../../actors/node/log.ts";
import { send } from "../../actors/node/messaging/outbox.ts";
import { recorder } from "../../actors/node/record/running-recorder.ts";
import { formatChunkId } from "../../actors/rules/chunk-id.ts";
import type { Services } from "../ports/backend.ts";
import type { About, Drill, DrillList, DrillRequest } from "./api.ts";

const WRITES_BACK_MS = 3000;
const PROBE_EVERY_MS = 100;
const PROBE_BYTES = 2048;
/** Too large to be kept inline, so that there is a file to damage. */
const VICTIM_BYTES = 256 << 10;
const READ_BACK_MS = 10_000;
const MOST_REMEMBERED = 50;
const MOST_VICTIMS = 12;
/** Time allowed for making the copies, beyond the time to notice the loss. */
const COPYING_MS = 30_000;

type LauncherNode = DrillList["nodes"][number];

export interface DrillParts {
  config: Config;
  gatewayId: string;
  services: Services;
  identity: Identity;
  log: Logger;
  /** The launcher's socket; null: this gateway was started by itself. */
  launcherSocket: string | null;
}

type Budget = Drill["budgets"][number];

export class Drills {
  onChange: (drill: Drill) => void = () => {};
  readonly #parts: DrillParts;
  readonly #drills: Drill[] = [];
  #count = 0;

  constructor(parts: DrillParts) {
    this.#parts = parts;
  }

  async permission(): Promise<About["drills"]> {
    const { config, launcherSocket } = this.#parts;
    if (!config.drills) return { allowed: false, reason: "config.json says `drills: false`" };
    if (launcherSocket === null)
      return { allowed: false, reason: "this gateway was started by itself; drills need nodes that `npm start` runs" };
    try {
      await this.#launcher("GET", "");
      return { allowed: true, reason: "" };
    } catch (error) {
      return {
        allowed: false,
        reason: `the launcher does not answer; drills need nodes that \`npm start\` runs (${(error as Error).message})`,
      };
    }
  }

  async list(): Promise<DrillList> {
    const { allowed, reason } = await this.permission();
    const nodes = allowed ? ((await this.#launcher("GET", "")) as LauncherNode[]) : [];
    return { allowed, reason, nodes, drills: this.#drills };
  }

  /** @throws DRILLS_NOT_ALLOWED, DRILL_UNDER_WAY, NO_SUCH_NODE, INVALID_PARAMETER */
  async start(request: DrillRequest): Promise<Drill> {
    const { allowed, reason, nodes } = await this.list();
    if (!allowed) throw new Refusal("DRILLS_NOT_ALLOWED", `No drills here: ${reason}`);
    if (this.#drills.some(({ state }) => state === "running"))
      throw new Refusal("DRILL_UNDER_WAY", "One drill at a time: another is under way");
    const node = request.node === "leader" ? ((await this.#cluster()).leader ?? "") : request.node;
    const kindOf = (id: string): string => {
      const found = nodes.find((one) => one.id === id);
      if (!found) throw new Refusal("NO_SUCH_NODE", `The launcher runs no node "${id}"`);
      return found.kind;
    };
    const kind = kindOf(node);
    if (kind === "gateway") throw new Refusal("INVALID_PARAMETER", "A drill does not break the gateway that runs it");
    if ((request.kind === "fill" || request.kind === "corrupt") && kind !== "worker")
      throw new Refusal("INVALID_PARAMETER", `${request.kind} is for workers; ${node} is a ${kind}`);
    if (request.kind === "cut") {
      if (request.peer === undefined || request.peer === node)
        throw new Refusal("INVALID_PARAMETER", "cut needs `peer`: the node at the other end of the link");
      if (kindOf(request.peer) === "gateway")
        throw new Refusal("INVALID_PARAMETER", "peer is a gateway; allowed: a master or a worker");
    }
    const drill: Drill = {
      id: `${this.#parts.gatewayId}-${Date.now()}-${++this.#count}`,
      kind: request.kind,
      node,
      peer: request.peer ?? null,
      state: "running",
      from: Date.now(),
      to: null,
      steps: [],
      budgets: [],
    };
    this.#drills.unshift(drill);
    this.#drills.length = Math.min(this.#drills.length, MOST_REMEMBERED);
    void this.#run(drill, request).catch((error) => {
      this.#parts.log.error({ event: "drill-failed", drill: drill.id, err: error }, "a drill could not be carried out");
      this.#step(drill, `could not be carried out: ${(error as Error).message}`);
      this.#end(drill, false);
    });
    return drill;
  }

  async #run(drill: Drill, request: DrillRequest): Promise<void> {
    const { config } = this.#parts;
    const { kind, node } = drill;
    const durationMs = request.durationMs ?? 2 * config.deadAfterMs;
    const before = await this.#cluster();
    const probe = new Probe(this.#parts.services, `.drills/${drill.id}`);
    const writes: Budget = {
      ...{ name: "writesBack", label: "writes succeed again", limitMs: WRITES_BACK_MS },
      ...{ measuredMs: null, ok: null, detail: "" },
    };
    const redundancy: Budget = {
      name: "redundancyBack",
      label: "every chunk has its copies again",
      limitMs: durationMs + config.deadAfterMs + config.safeModeMs + COPYING_MS,
      ...{ measuredMs: null, ok: null, detail: "" },
    };
    const lost: Budget = {
      ...{ name: "nothingLost", label: "every acknowledged file reads back", limitMs: null },
      ...{ measuredMs: null, ok: null, detail: "" },
    };
    drill.budgets.push(writes, redundancy, lost);
    const probing = probe.run();
    try {
      await Bun.sleep(3 * PROBE_EVERY_MS);
      recorder()?.mark(kind, node, { drill: drill.id, ...(drill.peer && { peer: drill.peer }) });
      if (drill.peer) recorder()?.mark(kind, drill.peer, { drill: drill.id, peer: node });
      const struckAt = Date.now();
      await this.#strike(drill, durationMs, probe);
      const outageMs = await probe.outageAfter(struckAt, WRITES_BACK_MS + durationMs);
      writes.measuredMs = outageMs;
      writes.ok = outageMs !== null && outageMs <= WRITES_BACK_MS;
      writes.detail = `${probe.failures} of ${probe.attempts} probe writes failed`;
      this.#step(
        drill,
        outageMs === null ? "writes did not come back" : `the longest gap between two writes: ${outageMs} ms`,
      );
      await this.#undo(drill, struckAt, durationMs);
      const deadline = struckAt + (redundancy.limitMs as number);
      const isWhole = await this.#untilWhole(node, before, deadline);
      redundancy.measuredMs = isWhole ? Date.now() - struckAt : null;
      redundancy.ok = isWhole;
      redundancy.detail = isWhole ? "" : "some chunks still lack copies";
      this.#step(drill, isWhole ? "every chunk has its copies" : "copies are still missing");
    } finally {
      probe.stop();
      await probing;
    }
    const missing = await probe.readBack(READ_BACK_MS);
    lost.ok = missing.length === 0;
    lost.detail = `${probe.acknowledged} files acknowledged, ${missing.length} do not read back`;
    this.#step(drill, lost.detail);
    await probe.clean();
    this.#end(
      drill,
      drill.budgets.every(({ ok }) => ok),
    );
  }

  async #strike(drill: Drill, durationMs: number, probe: Probe): Promise<void> {
    const { kind, node, peer } = drill;
    if (kind === "kill") {
      await this.#launcher("POST", `/${node}/kill`);
      this.#step(drill, `${node} was killed`);
    } else if (kind === "freeze") {
      await this.#launcher("POST", `/${node}/freeze`);
      this.#step(drill, `${node} stands still`);
    } else if (kind === "restart") {
      await this.#launcher("POST", `/${node}/stop`);
      await this.#launcher("POST", `/${node}/start`);
      this.#step(drill, `${node} was stopped and started`);
    } else if (kind === "fill") {
      await this.#launcher("POST", `/${node}/stop`);
      await this.#launcher("POST", `/${node}/start-full`);
      this.#step(drill, `${node} runs with almost no space`);
    } else if (kind === "corrupt") {
      const victim = await probe.fileOn(node);
      if (!victim) throw new Error(`no file could be placed on ${node}`);
      await this.#launcher("POST", `/${node}/corrupt`, { chunkId: formatChunkId(victim) });
      this.#step(drill, `one byte of chunk ${formatChunkId(victim)} on ${node} was changed`);
      await this.#report(victim, node);
    } else {
      await this.#cut(node, [peer as string], durationMs);
      await this.#cut(peer as string, [node], durationMs);
      this.#step(drill, `${node} and ${peer} no longer hear each other`);
    }
  }

  async #undo(drill: Drill, struckAt: number, durationMs: number): Promise<void> {
    const { kind, node } = drill;
    if (kind === "restart" || kind === "corrupt") return;
    await Bun.sleep(Math.max(0, struckAt + durationMs - Date.now()));
    if (kind === "kill") await this.#launcher("POST", `/${node}/start`);
    if (kind === "freeze") await this.#launcher("POST", `/${node}/thaw`);
    if (kind === "fill") {
      await this.#launcher("POST", `/${node}/stop`);
      await this.#launcher("POST", `/${node}/start`);
    }
    this.#step(drill, kind === "cut" ? "the link is whole again" : `${node} is back`);
  }

  /** Three looks in a row must be good, because a loss is noticed only after a while. */
  async #untilWhole(node: string, before: { workers: { id: string }[] }, deadline: number): Promise<boolean> {
    const isWorker = before.workers.some(({ id }) => id === node);
    let good = 0;
    while (Date.now() < deadline) {
      try {
        const { redundancy, workers, steward } = await this.#cluster();
        const isBack = !isWorker || workers.some(({ id, state }) => id === node && state === "live");
        good = redundancy.full === redundancy.chunks && isBack && steward !== "safeMode" ? good + 1 : 0;
        if (good >= 3) return true;
      } catch {
        good = 0;
      }
      await Bun.sleep(200);
    }
    return false;
  }

  /** As a gateway does that reads the damaged copy. */
  async #report(chunkId: number, workerId: string): Promise<void> {
    const { leader, masters } = await this.#cluster();
    const url = masters.find(({ id }) => id === leader)?.url;
    if (url === undefined) throw new Refusal("NO_LEADER", "No master leads");
    const report = { chunkId, workerId, problem: "corrupt", detail: "a drill changed a byte of it" } as const;
    await send<typeof MasterMailbox, "REPORT_REPLICA">(this.#parts.identity, url, {
      type: "REPORT_REPLICA",
      ...report,
    });
  }

  #cluster() {
    return this.#parts.services.operations.clusterState();
  }

  async #cut(node: string, peers: string[], forMs: number): Promise<void> {
    const { config, identity } = this.#parts;
    const url = [...config.masters, ...config.workers].find(({ id }) => id === node)?.url;
    if (url === undefined) throw new Refusal("NO_SUCH_NODE", `config.json lists no node "${node}"`);
    await send<typeof RecordsMailbox, "CUT_LINK">(identity, url, { type: "CUT_LINK", peers, forMs });
  }

  async #launcher(method: string, path: string, body?: unknown): Promise<unknown> {
    const { launcherSocket } = this.#parts;
    const response = await fetch(`http://launcher/nodes${path}`, {
      unix: launcherSocket as string,
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(20_000),
    });
    const answered = (await response.json()) as { message?: string };
    if (!response.ok) throw new Error(answered.message ?? `the launcher answers ${response.status}`);
    return answered;
  }

  #step(drill: Drill, text: string): void {
    drill.steps.push({ at: Date.now(), text });
    this.onChange(drill);
  }

  #end(drill: Drill, passed: boolean): void {
    drill.state = passed ? "passed" : "failed";
    drill.to = Date.now();
    recorder()?.mark(`${drill.kind} ${drill.state}`, drill.node, { drill: drill.id });
    this.onChange(drill);
  }
}

/** Writes a small file again and again, and remembers which were acknowledged. */
class Probe {
  readonly #services: Services;
  readonly #folder: string;
  readonly #kept = new Map<string, number>();
  readonly #succeededAt: number[] = [];
  #running = true;
  attempts = 0;
  failures = 0;

  constructor(services: Services, folder: string) {
    this.#services = services;
    this.#folder = folder;
  }

  get acknowledged(): number {
    return this.#kept.size;
  }

  async run(): Promise<void> {
    while (this.#running) {
      const began = performance.now();
      await this.#write(`probe-${this.attempts++}`, PROBE_BYTES);
      await Bun.sleep(Math.max(0, PROBE_EVERY_MS - (performance.now() - began)));
    }
  }

  async #write(name: string, bytes: number): Promise<string | null> {
    const path = `${this.#folder}/${name}`;
    const content = crypto.getRandomValues(new Uint8Array(Math.min(bytes, 65_536)));
    const body = new Uint8Array(bytes);
    for (let at = 0; at < bytes; at += content.length) body.set(content.subarray(0, bytes - at), at);
    const crc32 = Bun.hash.crc32(body);
    try {
      await this.#services.transfers.put({ path, body: new Blob([body]).stream(), lengthBytes: bytes });
      this.#kept.set(path, crc32);
      this.#succeededAt.push(Date.now());
      return path;
    } catch {
      this.failures++;
      return null;
    }
  }

  /** @returns a chunk of which `node` has a copy in a file of its own */
  async fileOn(node: string): Promise<number | null> {
    for (let n = 0; n < MOST_VICTIMS; n++) {
      const path = await this.#write(`victim-${n}`, VICTIM_BYTES);
      if (path === null) continue;
      const { chunks } = await this.#services.operations.explain(path, 0, 1);
      const [chunk] = chunks;
      if (chunk?.replicas.some(({ worker, state }) => worker === node && state === "good")) return chunk.chunkId;
    }
    return null;
  }

  /** @returns the longest time without a successful write that began after `struckAt`; null if none succeeds any more */
  async outageAfter(struckAt: number, patienceMs: number): Promise<number | null> {
    const settleMs = WRITES_BACK_MS;
    const deadline = Date.now() + patienceMs;
    for (;;) {
      await Bun.sleep(PROBE_EVERY_MS);
      const now = Date.now();
      const last = this.#succeededAt.at(-1) ?? 0;
      const isSettled = now - struckAt >= settleMs && now - last < 5 * PROBE_EVERY_MS;
      if (!isSettled && now < deadline) continue;
      if (last <= struckAt) return null;
      const after = this.#succeededAt.filter((at) => at >= struckAt);
      const times = [struckAt, ...after, ...(isSettled ? [] : [now])];
      return Math.max(...times.slice(1).map((at, n) => at - (times[n] as number)));
    }
  }

  stop(): void {
    this.#running = false;
  }

  /** @returns the acknowledged files that do not come back as they were written */
  async readBack(patienceMs: number): Promise<string[]> {
    const missing: string[] = [];
    const deadline = Date.now() + patienceMs;
    for (const [path, crc32] of this.#kept) {
      let isGood = false;
      do {
        try {
          const { file, stream } = await this.#services.transfers.openFile(path);
          const bytes = new Uint8Array(await new Response(stream(0, file.sizeBytes)).arrayBuffer());
          isGood = Bun.hash.crc32(bytes) === crc32;
        } catch {
          await Bun.sleep(200);
        }
      } while (!isGood && Date.now() < deadline);
      if (!isGood) missing.push(path);
    }
    return missing;
  }

  async clean(): Promise<void> {
    await this.#services.namespace.delete(this.#folder, { recursive: true }).catch(() => {});
  }
}
