/**
 * How old the state of a master is that does not lead. It asks the leader again and again up to where the log is
 * committed; once it has applied that much, its state is no older than the moment at which it asked. Only its own clock
 * is read, so no two clocks must agree. It asks often while somebody reads here, and seldom otherwise: each question has the
 * leader ask all masters whether it still leads.
 */
import type { MasterMailbox } from "../../messages/master.ts";
import type { NodeId } from "../../messages/primitives.ts";
import type { Identity } from "../../node/identity/identity.ts";
import { send } from "../../node/messaging/outbox.ts";
import { inContext } from "../../node/trace/trace-context.ts";
import { quorumValue } from "../../rules/raft/quorum.ts";
import type { RaftMetadata } from "./raft-metadata.ts";

const ASK_EVERY_MS = 250;
const ASK_SELDOM_MS = 1000;
/** An age that is wanted once will be wanted again, for this long. */
const WANTED_MS = 10_000;
/** Questions in the time that an answer may be old, at least. */
const ASKED_WHILE_FRESH = 5;
const ASK_TIMEOUT_MS = 1000;

export class Freshness {
  readonly #identity: Identity;
  readonly #metadata: RaftMetadata;
  readonly #urlOf: (id: NodeId) => string | null;
  readonly #seldomMs: number;
  #timer: Timer | null = null;
  #wantedAt = Number.NEGATIVE_INFINITY;
  #askedAt = Number.NEGATIVE_INFINITY;
  #asking = false;
  #freshAt = Number.NEGATIVE_INFINITY;
  /** The leader's latest answer, until that much is applied here. */
  #told: { index: number; askedAt: number } | null = null;

  /** @param maxStaleMs how old an answer may be */
  constructor(
    identity: Identity,
    metadata: RaftMetadata,
    urlOf: (id: NodeId) => string | null,
    { maxStaleMs }: { maxStaleMs: number },
  ) {
    this.#identity = identity;
    this.#metadata = metadata;
    this.#urlOf = urlOf;
    this.#seldomMs = Math.max(ASK_EVERY_MS, Math.min(ASK_SELDOM_MS, maxStaleMs / ASKED_WHILE_FRESH));
    this.#askOn();
  }

  #askOn(): void {
    const isSoon = performance.now() - this.#wantedAt < WANTED_MS || this.ageMs === null;
    this.#timer = setTimeout(
      () => {
        this.#askOn();
        void this.#ask();
      },
      isSoon ? ASK_EVERY_MS : this.#seldomMs,
    );
  }

  stop(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
  }

  /** ms; null: it cannot tell. Whoever asks has newer answers fetched from now on. */
  ageWanted(): number | null {
    const now = performance.now();
    const isWanted = now - this.#wantedAt < WANTED_MS;
    this.#wantedAt = now;
    if (!isWanted && this.#timer) {
      clearTimeout(this.#timer);
      inContext(undefined, () => this.#askOn());
      if (now - this.#askedAt >= ASK_EVERY_MS) inContext(undefined, () => void this.#ask());
    }
    return this.ageMs;
  }

  /** ms; null: it cannot tell. A leader's state is as old as the last answer of a quorum. */
  get ageMs(): number | null {
    const { state, role } = this.#metadata.raft;
    if (role === "leader") {
      const now = performance.now();
      const heardAt = (id: NodeId) => (id === state.id ? now : (state.progress[id]?.lastActiveAt ?? 0));
      return Math.max(0, Math.ceil(now - quorumValue(state.configuration, heardAt)));
    }
    this.#settle();
    return Number.isFinite(this.#freshAt) ? Math.ceil(performance.now() - this.#freshAt) : null;
  }

  #settle(): void {
    if (this.#told === null || this.#metadata.appliedIndex < this.#told.index) return;
    this.#freshAt = Math.max(this.#freshAt, this.#told.askedAt);
    this.#told = null;
  }

  async #ask(): Promise<void> {
    this.#settle();
    const { leaderId, id } = this.#metadata.raft.state;
    const url = leaderId === null || leaderId === id ? null : this.#urlOf(leaderId);
    if (url === null || this.#asking) return;
    this.#asking = true;
    const askedAt = performance.now();
    this.#askedAt = askedAt;
    try {
      const { index } = await send<typeof MasterMailbox, "READ_INDEX">(
        this.#identity,
        url,
        { type: "READ_INDEX" },
        { timeoutMs: ASK_TIMEOUT_MS },
      );
      // An older answer that waits for its entries would never be reached while newer ones replace it.
      if (this.#told === null) this.#told = { index, askedAt };
    } catch {
      // No leader, no answer: the state grows older, and says so.
    } finally {
      this.#asking = false;
    }
  }
}
