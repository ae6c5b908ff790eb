/**
 * Follows the records of every node, watched or not: at ease once a second, and closely while a page watches. The
 * merged records go into the gateway's own store, so that a dead node's last records can be read here, and a page that comes
 * later sees what came before.
 */
import type { Config } from "../../actors/messages/config.ts";
import { Refusal } from "../../actors/messages/errors.ts";
import type { ActorState, Chart, RecordCursor, RecordsMailbox } from "../../actors/messages/records.ts";
import type { Identity } from "../../actors/node/identity/identity.ts";
import type { Logger } from "../../actors/node/log.ts";
import { send } from "../../actors/node/messaging/outbox.ts";
import { withCause } from "../../actors/node/record/cause.ts";
import { recorder, recordsHandlers } from "../../actors/node/record/running-recorder.ts";
import { declareWork } from "../../actors/node/watchdog/current-work.ts";
import type { NodeStatus, StepRecord, StreamedRecord } from "./api.ts";
import { HOLD_MS, Merger } from "./merge.ts";
import { msOf } from "./order.ts";

/** A record with its place in the stream. */
export type ToldRecord = StepRecord & { id: number; late: boolean };

/** The gateway's store of the records of all nodes; `databases/records.ts` has it. */
export interface FollowedStore {
  readonly storeId: string;
  append(records: readonly (StepRecord & { late?: boolean })[]): ToldRecord[];
  cursorOf(node: string): RecordCursor;
  setCursor(node: string, cursor: RecordCursor): void;
  lastId(): number;
  oldest(): ToldRecord | null;
  since(id: number, limit: number): ToldRecord[];
  between(from: string, to: string, limit: number, machine?: string): ToldRecord[];
  find(n: string, b: number, q: number): ToldRecord | null;
  causedBy(id: string, limit: number): ToldRecord[];
  before(n: string, a: string, h: string): ToldRecord | null;
  statesAt(h: string, endedSince: string, limit: number): ActorState[];
  close(): void;
}

type Listener = (records: StreamedRecord[], lastId: number) => void;

const AT_EASE_MS = 1000;
const CLOSELY_MS = 50;
const TICK_MS = 50;
const PAGE = 2000;
const ASK_TIMEOUT_MS = 3000;
const RETRY_MS = 500;
/** Records of the past that the first look at a node takes along at most. */
const MOST_PAST = 20_000;

interface Followed {
  id: string;
  kind: NodeStatus["kind"];
  url: string;
  zone: string | null;
  reach: NodeStatus["reach"] | null;
  since: number;
  reason: string;
  boot: number;
  state: string | null;
  lagMs: number;
  lost: number;
  cursor: RecordCursor;
  chartsOfBoot: number;
  charts: Chart[];
}

const following = declareWork("follow records");

export class Follower {
  readonly #store: FollowedStore;
  readonly #identity: Identity;
  readonly #log: Logger;
  readonly #merger = new Merger();
  readonly #nodes = new Map<string, Followed>();
  readonly #listeners = new Set<Listener>();
  readonly #observers = new Set<(records: StreamedRecord[]) => void>();
  readonly #ownId: string;
  readonly #tick: Timer;
  #stopped = false;

  constructor(parts: { config: Config; gatewayId: string; identity: Identity; store: FollowedStore; log: Logger }) {
    const { config, gatewayId } = parts;
    this.#store = parts.store;
    this.#identity = parts.identity;
    this.#log = parts.log;
    this.#ownId = gatewayId;
    for (const { id, url } of config.masters) this.#add(id, "master", url, null);
    for (const { id, url, zone } of config.workers) this.#add(id, "worker", url, zone);
    for (const { id, url } of config.gateways) if (id === gatewayId) this.#add(id, "gateway", url, null);
    if (!this.#nodes.has(gatewayId)) this.#add(gatewayId, "gateway", "", null);
    // Following is not an effect of the request that started it.
    this.#tick = withCause(undefined, () => setInterval(() => this.#release(), TICK_MS));
    for (const node of this.#nodes.values()) withCause(undefined, () => void this.#follow(node));
  }

  #add(id: string, kind: NodeStatus["kind"], url: string, zone: string | null): void {
    this.#nodes.set(id, {
      ...{ id, kind, url, zone, reach: null, since: Date.now(), reason: "not asked yet", boot: 0, state: null },
      ...{ lagMs: 0, lost: 0, cursor: this.#store.cursorOf(id), chartsOfBoot: -1, charts: [] },
    });
  }

  /** Workers that joined by themselves are followed from the moment that the leader names them. */
  noticeWorkers(workers: readonly { id: string; url: string; zone: string }[]): void {
    for (const { id, url, zone } of workers) {
      const known = this.#nodes.get(id);
      if (known) known.url = url;
      else {
        this.#add(id, "worker", url, zone);
        withCause(undefined, () => void this.#follow(this.#nodes.get(id) as Followed));
      }
    }
  }

  get isWatched(): boolean {
    return this.#listeners.size > 0;
  }

  /** @returns ends it */
  listen(listener: Listener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Receives every record without switching the follower to fast polling. @returns ends it */
  observe(observer: (records: StreamedRecord[]) => void): () => void {
    this.#observers.add(observer);
    return () => this.#observers.delete(observer);
  }

  statuses(): NodeStatus[] {
    return [...this.#nodes.values()].map(({ cursor: _c, charts: _h, chartsOfBoot: _b, reach, ...node }) => ({
      ...node,
      reach: reach ?? "unknown",
    }));
  }

  charts(): { chart: Chart; nodes: string[] }[] {
    const found = new Map<string, { chart: Chart; nodes: string[] }>();
    for (const { id, charts } of this.#nodes.values())
      for (const chart of charts) {
        const known = found.get(chart.hash) ?? { chart, nodes: [] };
        known.nodes.push(id);
        found.set(chart.hash, known);
      }
    return [...found.values()];
  }

  async #follow(node: Followed): Promise<void> {
    while (!this.#stopped) {
      following.begins();
      const began = performance.now();
      let pauseMs = this.isWatched ? CLOSELY_MS : AT_EASE_MS;
      try {
        const isOwn = node.id === this.#ownId;
        const message = { type: "RECORDS_AFTER" as const, after: node.cursor, limit: PAGE, waitMs: 0 };
        if (this.isWatched) message.waitMs = AT_EASE_MS;
        const answer = isOwn
          ? await recordsHandlers.RECORDS_AFTER(message)
          : await send<typeof RecordsMailbox, "RECORDS_AFTER">(this.#identity, node.url, message, {
              timeoutMs: ASK_TIMEOUT_MS,
              // A long poll: send it in its own request so that it delays no other message.
              apart: true,
            });
        if (this.#stopped) return;
        if (node.chartsOfBoot !== answer.boot) {
          const { charts } = isOwn
            ? recordsHandlers.MACHINES()
            : await send<typeof RecordsMailbox, "MACHINES">(this.#identity, node.url, { type: "MACHINES" });
          node.charts = charts;
          node.chartsOfBoot = answer.boot;
        }
        this.#became(node, "reachable", "");
        if (answer.boot > 0) {
          this.#merger.push(node.id, this.#sensible(node, answer.records), answer.clock, performance.now());
          node.boot = answer.boot;
          node.lost += answer.lost;
          node.lagMs = Math.max(0, Date.now() - msOf(answer.clock));
          node.cursor = answer.next;
          if (answer.more) pauseMs = 0;
        }
      } catch (error) {
        if (this.#stopped) return;
        this.#merger.forget(node.id);
        if (!(error instanceof Refusal))
          this.#log.warn({ event: "follow-failed", node: node.id, err: error }, "not followed");
        this.#became(node, "unknown", (error as Error).message);
        pauseMs = RETRY_MS;
      }
      await Bun.sleep(Math.max(pauseMs === 0 ? 0 : CLOSELY_MS / 2, pauseMs - (performance.now() - began)));
    }
  }

  /** Older records than a first look takes stay with the node that has them. */
  #sensible(node: Followed, records: StepRecord[]): StepRecord[] {
    const state = records.findLast(({ m }) => m === "worker" || m === "raft");
    if (state) node.state = state.v;
    return node.cursor.boot === 0 ? records.slice(-MOST_PAST) : records;
  }

  #became(node: Followed, reach: NodeStatus["reach"], reason: string): void {
    if (node.reach === reach) return;
    node.reach = reach;
    node.since = Date.now();
    node.reason = reason;
    recorder()?.became(
      "reach",
      node.id,
      reach,
      reach === "unknown" ? "no answer" : "answered",
      reason ? { reason } : {},
    );
  }

  #release(): void {
    if (this.#stopped) return;
    const due = this.#merger.take(performance.now(), this.isWatched ? HOLD_MS : AT_EASE_MS + HOLD_MS);
    if (due.length === 0) return;
    try {
      const told = this.#store.append(due.map(({ record, late }) => ({ ...record, late })));
      // Cursors go to the store after the records they stand for.
      if (this.#merger.heldCount === 0)
        for (const { id, cursor } of this.#nodes.values()) this.#store.setCursor(id, cursor);
      const last = told.at(-1);
      if (!last) return;
      const records = told.map(({ id: _id, late, ...record }) => (late ? { ...record, late: true as const } : record));
      for (const observer of this.#observers) observer(records);
      for (const listener of this.#listeners) listener(records, last.id);
    } catch (error) {
      this.#log.warn({ event: "records-not-kept", err: error }, "records of the nodes could not be kept");
    }
  }

  stop(): void {
    this.#stopped = true;
    clearInterval(this.#tick);
  }
}
