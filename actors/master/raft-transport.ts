/**
 * Carries Raft messages between masters over their mailboxes: batched per peer and lane, never more than one request of
 * a lane under way to a peer, so that beats and votes do not wait behind entries. The receiver's answer brings back what
 * its next flush made it say to the sender.
 */
import type { Config } from "../messages/config.ts";
import { isErrorCode, Refusal } from "../messages/errors.ts";
import type { MasterMailbox } from "../messages/master.ts";
import type { NodeId } from "../messages/primitives.ts";
import { MAX_APPEND_BYTES, MAX_BATCH_MESSAGES, type RaftMessage } from "../messages/raft.ts";
import type { Logger } from "../node/log.ts";
import { type Identity, send } from "../node/mailbox.ts";
import { becauseOf } from "../node/recorder-cause.ts";

type Lane = "control" | "data";

/** Messages that wait for a peer; older ones are dropped, as a network would. */
const MAX_QUEUED = 4096;
const MAX_BATCH_BYTES = 2 * MAX_APPEND_BYTES;
const CONTROL_TIMEOUT_MS = 1000;
const DATA_TIMEOUT_MS = 5000;
/** A silent peer is complained about this often. */
const COMPLAIN_EVERY_MS = 30_000;

interface LaneState {
  queue: RaftMessage[];
  isSending: boolean;
}

const bytesOf = (message: RaftMessage): number =>
  message.type === "rpc.append" ? message.entries.reduce((sum, { data }) => sum + data.length + 32, 64) : 128;

export class RaftTransport {
  readonly #identity: Identity;
  readonly #urls: Map<NodeId, string>;
  readonly #log: Logger;
  readonly #lanes = new Map<string, LaneState>();
  /** Answers being put together for a peer whose request is still open. */
  readonly #collecting = new Map<NodeId, RaftMessage[]>();
  readonly #complainedAt = new Map<NodeId, number>();
  receive: (message: RaftMessage) => void = () => {};
  unreachable: (id: NodeId) => void = () => {};

  constructor(identity: Identity, masters: Config["masters"], log: Logger) {
    this.#identity = identity;
    this.#urls = new Map(masters.map(({ id, url }) => [id, url]));
    this.#log = log;
  }

  urlOf(id: NodeId): string | null {
    return this.#urls.get(id) ?? null;
  }

  send(message: RaftMessage): void {
    const open = this.#collecting.get(message.to);
    if (open && message.type.endsWith("Reply") && open.length < MAX_BATCH_MESSAGES) {
      open.push(message);
      return;
    }
    const lane = this.#lane(
      message.to,
      message.type === "rpc.append" || message.type === "rpc.snapshotOffer" ? "data" : "control",
    );
    if (lane.queue.length >= MAX_QUEUED) lane.queue.shift();
    lane.queue.push(message);
  }

  #lane(to: NodeId, kind: Lane): LaneState {
    const key = `${to}/${kind}`;
    let lane = this.#lanes.get(key);
    if (!lane) {
      lane = { queue: [], isSending: false };
      this.#lanes.set(key, lane);
    }
    if (!lane.isSending) {
      lane.isSending = true;
      // Behind everything else that this turn wants to say to this peer.
      setImmediate(() => void this.#drain(to, kind, lane as LaneState));
    }
    return lane;
  }

  async #drain(to: NodeId, kind: Lane, lane: LaneState): Promise<void> {
    const url = this.#urls.get(to);
    while (lane.queue.length > 0 && url !== undefined) {
      let bytes = 0;
      const fits = lane.queue.findIndex((message, n) => {
        bytes += bytesOf(message);
        return n > 0 && (bytes > MAX_BATCH_BYTES || n >= MAX_BATCH_MESSAGES);
      });
      const messages = lane.queue.splice(0, fits === -1 ? lane.queue.length : fits);
      try {
        const answer = await send<typeof MasterMailbox, "RAFT">(
          this.#identity,
          url,
          { type: "RAFT", messages },
          { timeoutMs: kind === "control" ? CONTROL_TIMEOUT_MS : DATA_TIMEOUT_MS },
        );
        becauseOf(answer, () => {
          for (const message of answer.messages) this.receive(message);
        });
      } catch (error) {
        this.#complain(to, error);
        if (kind === "data") this.unreachable(to);
      }
    }
    lane.isSending = false;
  }

  #complain(to: NodeId, error: unknown): void {
    const code = error instanceof Refusal && isErrorCode(error.code) ? error.code : "INTERNAL";
    if (performance.now() - (this.#complainedAt.get(to) ?? Number.NEGATIVE_INFINITY) < COMPLAIN_EVERY_MS) return;
    this.#complainedAt.set(to, performance.now());
    this.#log.info({ event: "peer-unreachable", peer: to, code, err: error }, "another master does not answer");
  }

  /** Takes a batch in, and answers with what the flush that it caused made us say to the sender. */
  async take(messages: readonly RaftMessage[]): Promise<{ messages: RaftMessage[] }> {
    const from = messages[0]?.from;
    if (from === undefined || !this.#urls.has(from) || messages.some((message) => message.from !== from))
      throw new Refusal("INVALID_MESSAGE", "A Raft batch comes from one master of this cluster");
    const isFirst = !this.#collecting.has(from);
    const answers = this.#collecting.get(from) ?? [];
    this.#collecting.set(from, answers);
    for (const message of messages) this.receive(message);
    // The driver flushes in the turn after this one.
    await new Promise<void>((resolve) => setImmediate(() => setImmediate(resolve)));
    if (!isFirst) return { messages: [] };
    this.#collecting.delete(from);
    return { messages: answers };
  }
}
