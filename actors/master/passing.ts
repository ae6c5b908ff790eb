/**
 * The way round a cut link: a gateway that cannot reach the leader hands its question or command to another master, and
 * that one passes it on. Once: what was passed on is answered where it arrives, or refused there. A command keeps its
 * session and number, so it takes effect once, whichever ways it was sent; a read is confirmed by the leader as any other.
 */
import { Refusal } from "../messages/errors.ts";
import type { MasterMailbox, Passed } from "../messages/master.ts";
import type { NodeId } from "../messages/primitives.ts";
import type { Identity } from "../node/identity/identity.ts";
import type { MessageOf } from "../node/messaging/mailbox.ts";
import { isRefusedAsNode, send } from "../node/messaging/outbox.ts";
import { membersOf } from "../rules/raft/quorum.ts";
import type { RaftMetadata } from "./group/raft-metadata.ts";

/** Less than the gateway waits for its own request. */
const PATIENCE_MS = 4500;
/** Passed on at once. */
const MAX_OPEN = 256;

interface Parts {
  identity: Identity;
  metadata: Pick<RaftMetadata, "raft" | "notLeader">;
  urlOf(id: NodeId): string | null;
  /** Answers as a leader does. @throws NOT_LEADER */
  answer(message: Passed, gatewayId: NodeId): Promise<unknown>;
}

export class Passing {
  readonly #parts: Parts;
  readonly #patienceMs: number;
  readonly #open = new Set<AbortController>();

  /** @param patienceMs how long an answer of the leader is waited for */
  constructor(parts: Parts, patienceMs = PATIENCE_MS) {
    this.#parts = parts;
    this.#patienceMs = patienceMs;
  }

  /** What is under way to a leader that was replaced may never be answered. */
  leaderChanged(): void {
    for (const passing of this.#open) passing.abort();
  }

  /** @throws NOT_LEADER if no leader is known, PEER_UNREACHABLE if it cannot be reached from here either, OVERLOADED */
  async passOn(message: Passed, gatewayId: NodeId): Promise<unknown> {
    const { identity, metadata, urlOf, answer } = this.#parts;
    const { leaderId, id } = metadata.raft.state;
    if (leaderId === id) return answer(message, gatewayId);
    const url = leaderId === null ? null : urlOf(leaderId);
    if (url === null) throw metadata.notLeader();
    if (this.#open.size >= MAX_OPEN)
      throw new Refusal("OVERLOADED", `${MAX_OPEN} messages are being passed on to ${leaderId} already`);
    const passing = new AbortController();
    this.#open.add(passing);
    try {
      return await send<typeof MasterMailbox, "PASSED_ON">(
        identity,
        url,
        { type: "PASSED_ON", gatewayId, message },
        { timeoutMs: this.#patienceMs, signal: passing.signal },
      );
    } catch (error) {
      if (passing.signal.aborted) throw metadata.notLeader(false);
      throw this.#told(error, leaderId as NodeId);
    } finally {
      this.#open.delete(passing);
    }
  }

  /** A refusal of ours by the leader, or no way to it, is not what the gateway's own request met. */
  #told(error: unknown, leaderId: NodeId): unknown {
    const wasRefused = error instanceof Refusal && error.details.connectionRefused === true;
    if (!wasRefused && !isRefusedAsNode(error)) return error;
    const { message } = error as Refusal;
    return new Refusal("PEER_UNREACHABLE", `${leaderId} takes nothing from here: ${message}`, { notTaken: true });
  }

  /** @throws WRONG_NODE unless another member sent it, NOT_LEADER */
  take({ gatewayId, message }: MessageOf<typeof MasterMailbox, "PASSED_ON">, sender: NodeId): Promise<unknown> {
    if (!membersOf(this.#parts.metadata.raft.state.configuration).includes(sender))
      throw new Refusal("WRONG_NODE", `${sender} is no master of this group and passes nothing on`);
    return this.#parts.answer(message, gatewayId);
  }
}
