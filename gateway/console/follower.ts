/**
 * Follows the records of every node while somebody looks: closely while a page watches, at ease once a second for a while after
 * each question, and while a death is reported on. Otherwise no node is asked: nodes keep their records themselves, and
 * whoever comes to look first gets what happened meanwhile. The merged records go into the gateway's own store, so that a node
 * that dies while it is followed can be read here.
 */
import type { Config } from "../../actors/messages/config.ts";
import { Refusal } from "../../actors/messages/errors.ts";
import type { ActorState, Chart, RecordCursor, RecordsAnswer, RecordsMailbox } from "../../actors/messages/records.ts";
import type { Identity } from "../../actors/node/identity/identity.ts";
import type { Logger } from "../../actors/node/log.ts";
import { send } from "../../actors/node/messaging/outbox.ts";
import { recorder, recordsHandlers } from "../../actors/node/record/running-recorder.ts";
import { inContext } from "../../actors/node/trace/trace-context.ts";
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

/** A node's reach while nobody looks. */
export const NOT_ASKED = "not asked";

const AT_EASE_MS = 1000;
const CLOSELY_MS = 50;
const TICK_MS = 50;
const PAGE = 2000;
const ASK_TIMEOUT_MS = 3000;
const RETRY_MS = 500;
/** Records that a look takes along at most of what a node did while nobody looked. */
const MOST_PAST = 20_000;
/** A question to the console is followed by others. */
const LOOKED_MS = 30_000;
/** Whoever comes to look waits no longer for nodes that are slow to answer. */
const CATCH_UP_MS = 3000;
/** Written at once; a longer past is written in turns, between which the gateway serves. */
const SLICE = 500;

interface Followed {
  id: string;
  kind: NodeStatus["kind"];
  url: string;
  zone: string | null;
  reach: NodeStatus["reach"] | null;
  /** ms since the epoch; 0: never. */
  answeredAt: number;
  isFollowed: boolean;
  /** Records since the look began. */
  taken: number;
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

export interface FollowerParts {
  config: Config;
  gatewayId: string;
  identity: Identity;
  store: FollowedStore;
  log: Logger;
  /** How long nodes are asked on after a look. */
  lookedMs?: number;
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
  readonly #keepRecords: number;
  readonly #lookedMs: number;
  /** Nodes that were not read to their end yet since the last look began. */
  readonly #behind = new Set<string>();
  #caughtUp = Promise.withResolvers<void>();
  /** null: nobody looks. */
  #tick: Timer | null = null;
  #followedUntil = 0;
  #releasing = Promise.resolve();
  #stopped = false;

  constructor(parts: FollowerParts) {
    const { config, gatewayId, lookedMs = LOOKED_MS } = parts;
    this.#lookedMs = lookedMs;
    this.#store = parts.store;
    this.#identity = parts.identity;
    this.#log = parts.log;
    this.#ownId = gatewayId;
    this.#keepRecords = config.recording.keepRecords;
    for (const { id, url } of config.masters) this.#add(id, "master", url, null);
    for (const { id, url, zone } of config.workers) this.#add(id, "worker", url, zone);
    for (const { id, url } of config.gateways) if (id === gatewayId) this.#add(id, "gateway", url, null);
    if (!this.#nodes.has(gatewayId)) this.#add(gatewayId, "gateway", "", null);
  }

  #add(id: string, kind: NodeStatus["kind"], url: string, zone: string | null): void {
    this.#nodes.set(id, {
      ...{ id, kind, url, zone, reach: null, since: Date.now(), reason: "not asked yet", boot: 0, state: null },
      ...{ answeredAt: 0, isFollowed: false, taken: 0, lagMs: 0, lost: 0, cursor: this.#store.cursorOf(id) },
      ...{ chartsOfBoot: -1, charts: [] },
    });
  }

  /** Workers that joined by themselves are followed from the moment that the leader names them. */
  noticeWorkers(workers: readonly { id: string; url: string; zone: string }[]): void {
    for (const { id, url, zone } of workers) {
      const known = this.#nodes.get(id);
      if (known) known.url = url;
      else {
        this.#add(id, "worker", url, zone);
        if (this.isFollowing) this.#begin(this.#nodes.get(id) as Followed);
      }
    }
  }

  get isWatched(): boolean {
    return this.#listeners.size > 0;
  }

  get isFollowing(): boolean {
    return this.#tick !== null;
  }

  /** Somebody looks. Resolves once all that the nodes recorded is here; those that do not answer are not waited for. */
  look(): Promise<void> {
    this.followFor(this.#lookedMs);
    return this.#caughtUp.promise;
  }

  /** Nodes are asked from now on, for so long at least. */
  followFor(ms: number): void {
    this.#followedUntil = Math.max(this.#followedUntil, performance.now() + ms);
    if (this.isFollowing || this.#stopped) return;
    const caughtUp = Promise.withResolvers<void>();
    this.#caughtUp = caughtUp;
    // Following is not a part of the request that started it.
    inContext(undefined, () => {
      this.#tick = setInterval(() => this.#turn(), TICK_MS);
      setTimeout(caughtUp.resolve, CATCH_UP_MS).unref();
      for (const node of this.#nodes.values()) {
        this.#behind.add(node.id);
        node.taken = 0;
        this.#begin(node);
      }
    });
  }

  #begin(node: Followed): void {
    if (node.isFollowed) return;
    node.isFollowed = true;
    inContext(undefined, () => void this.#follow(node));
  }

  #turn(): void {
    const isDone = !this.isWatched && performance.now() > this.#followedUntil;
    if (isDone && this.#behind.size === 0) void this.#rest();
    else void this.#release(this.isWatched ? HOLD_MS : AT_EASE_MS + HOLD_MS);
  }

  /** Nobody looks any more. What was fetched is written; what happens from now on stays with the nodes. */
  async #rest(): Promise<void> {
    if (this.#tick) clearInterval(this.#tick);
    this.#tick = null;
    await this.#release(0);
    if (this.isFollowing || this.#stopped) return;
    for (const { id } of this.#nodes.values()) recorder()?.became("reach", id, NOT_ASKED, "nobody looks");
  }

  /** @returns ends it */
  listen(listener: Listener): () => void {
    this.#listeners.add(listener);
    this.followFor(0);
    return () => {
      this.#listeners.delete(listener);
      this.followFor(this.#lookedMs);
    };
  }

  /** Receives every record without switching the follower to fast polling. @returns ends it */
  observe(observer: (records: StreamedRecord[]) => void): () => void {
    this.#observers.add(observer);
    return () => this.#observers.delete(observer);
  }

  statuses(): NodeStatus[] {
    return [...this.#nodes.values()].map(
      ({ id, kind, url, zone, reach, since, reason, boot, state, lagMs, lost }): NodeStatus => ({
        ...{ id, kind, url, zone, reach: reach ?? "unknown", since, reason, boot, state, lagMs, lost },
      }),
    );
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
    while (this.isFollowing) {
      following.begins();
      const began = performance.now();
      let pauseMs = this.isWatched ? CLOSELY_MS : AT_EASE_MS;
      try {
        if (await this.#ask(node)) pauseMs = 0;
      } catch (error) {
        if (!this.isFollowing) break;
        this.#merger.forget(node.id);
        if (!(error instanceof Refusal))
          this.#log.warn({ event: "follow-failed", node: node.id, err: error }, "not followed");
        this.#became(node, "unknown", (error as Error).message);
        this.#reached(node);
        pauseMs = RETRY_MS;
      }
      await Bun.sleep(Math.max(pauseMs === 0 ? 0 : CLOSELY_MS / 2, pauseMs - (performance.now() - began)));
    }
    node.isFollowed = false;
  }

  /** @returns whether the node has more, that is to be asked for at once */
  async #ask(node: Followed): Promise<boolean> {
    const isOwn = node.id === this.#ownId;
    const message = { type: "RECORDS_AFTER" as const, after: node.cursor, limit: PAGE, waitMs: 0 };
    if (this.isWatched && !this.#behind.has(node.id)) message.waitMs = AT_EASE_MS;
    const answer = isOwn
      ? await recordsHandlers.RECORDS_AFTER(message)
      : await send<typeof RecordsMailbox, "RECORDS_AFTER">(this.#identity, node.url, message, {
          timeoutMs: ASK_TIMEOUT_MS,
          // A long poll: send it in its own request so that it delays no other message.
          apart: true,
        });
    if (!this.isFollowing) return false;
    if (node.chartsOfBoot !== answer.boot) {
      const { charts } = isOwn
        ? recordsHandlers.MACHINES()
        : await send<typeof RecordsMailbox, "MACHINES">(this.#identity, node.url, { type: "MACHINES" });
      node.charts = charts;
      node.chartsOfBoot = answer.boot;
    }
    node.answeredAt = Date.now();
    this.#became(node, "reachable", "");
    const isMore = answer.boot > 0 && answer.more;
    if (answer.boot > 0) this.#take(node, answer);
    if (!isMore) this.#reached(node);
    return isMore;
  }

  #take(node: Followed, answer: RecordsAnswer): void {
    node.boot = answer.boot;
    node.lost += answer.lost;
    node.lagMs = Math.max(0, Date.now() - msOf(answer.clock));
    const { newest = 0, boot, next, more, records } = answer;
    const most = Math.min(MOST_PAST, Math.max(PAGE, Math.floor(this.#keepRecords / this.#nodes.size)));
    const from = Math.max(0, newest - most);
    node.taken += records.length;
    // Of a past that is too long, the older records stay with the node that has them.
    if (more && (next.boot < boot ? from > 0 || node.taken > most : next.seq < from)) {
      if (node.cursor.boot === boot) node.lost += from - node.cursor.seq;
      node.cursor = { boot, seq: from };
      return;
    }
    const state = records.findLast(({ m }) => m === "worker" || m === "raft");
    if (state) node.state = state.v;
    this.#merger.push(node.id, records, answer.clock, performance.now());
    node.cursor = next;
  }

  /** Its records are here up to now, or it does not answer. */
  #reached(node: Followed): void {
    if (!this.#behind.delete(node.id) || this.#behind.size > 0) return;
    void this.#release(0).then(this.#caughtUp.resolve);
  }

  #became(node: Followed, reach: NodeStatus["reach"], reason: string): void {
    if (node.reach !== reach) {
      node.reach = reach;
      // Where nobody looked for a while, it is unknown since it was last asked.
      node.since = reach === "unknown" && node.answeredAt > 0 ? node.answeredAt : Date.now();
    }
    node.reason = reason;
    recorder()?.became(
      "reach",
      node.id,
      reach,
      reach === "unknown" ? "no answer" : "answered",
      reason ? { reason } : {},
    );
  }

  /** Hands on what is due, in slices, one call after the other. */
  #release(holdMs: number): Promise<void> {
    this.#releasing = this.#releasing.then(() => this.#releaseNow(holdMs));
    return this.#releasing;
  }

  async #releaseNow(holdMs: number): Promise<void> {
    const due = this.#merger.take(performance.now(), this.#behind.size > 0 ? CATCH_UP_MS : holdMs);
    try {
      for (let at = 0; at < due.length; at += SLICE) {
        if (at > 0) await Bun.sleep(0);
        if (this.#stopped) return;
        this.#handOn(due.slice(at, at + SLICE));
      }
      // Cursors go to the store after the records they stand for.
      if (due.length > 0 && this.#merger.heldCount === 0 && !this.#stopped)
        for (const { id, cursor } of this.#nodes.values()) this.#store.setCursor(id, cursor);
    } catch (error) {
      this.#log.warn({ event: "records-not-kept", err: error }, "records of the nodes could not be kept");
    }
  }

  #handOn(due: { record: StepRecord; late: boolean }[]): void {
    const told = this.#store.append(due.map(({ record, late }) => ({ ...record, late })));
    const last = told.at(-1);
    if (!last) return;
    const records = told.map(({ id: _id, late, ...record }) => (late ? { ...record, late: true as const } : record));
    for (const observer of this.#observers) observer(records);
    for (const listener of this.#listeners) listener(records, last.id);
  }

  stop(): void {
    this.#stopped = true;
    if (this.#tick) clearInterval(this.#tick);
    this.#tick = null;
    this.#caughtUp.resolve();
  }
}
