/**
 * Carries Raft messages between masters over their mailboxes: batched per peer and lane, never more than one request of
 * a lane under way to a peer, so that beats and votes do not wait behind entries. The receiver's answer brings back what
 * its next flush made it say to the sender.
 *
 * Batches also name the data directory that speaks. A directory that its peers do not know under that id has forgotten its
 * votes: the answer says so, and its master stops.
 */
import type { Static } from "@sinclair/typebox";
import { TypeCompiler } from "@sinclair/typebox/compiler";
import type { Config } from "../../messages/config.ts";
import { isErrorCode, Refusal } from "../../messages/errors.ts";
import type { MasterMailbox } from "../../messages/master.ts";
import type { NodeId } from "../../messages/primitives.ts";
import {
  type Configuration,
  MAX_APPEND_BYTES,
  MAX_BATCH_MESSAGES,
  RaftBatchAnswer,
  type RaftMessage,
} from "../../messages/raft.ts";
import type { Identity } from "../../node/identity/identity.ts";
import type { Logger } from "../../node/log.ts";
import type { MessageOf } from "../../node/messaging/mailbox.ts";
import { send } from "../../node/messaging/outbox.ts";
import { becauseOf } from "../../node/record/cause.ts";
import type { StateMark } from "../../rules/decide/cluster-version.ts";
import { fitting } from "../../rules/fitting.ts";
import type { Inadmissible } from "../../rules/raft/admission.ts";
import { membersOf } from "../../rules/raft/quorum.ts";

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

/** What a peer said of itself. */
export interface Heard {
  url: string;
  incarnation: string;
  /** The cluster version up to which its program knows all commands. */
  knows: number;
  mark: StateMark | null;
}

/** This master, and what it takes messages for. */
export interface RaftEnd {
  url: string;
  incarnation: string;
  knows: number;
  mark(): StateMark;
  configuration(): Configuration;
  receive(message: RaftMessage): void;
  /** Why a message is not to be received. */
  inadmissible(message: RaftMessage): Inadmissible | null;
  unreachable(id: NodeId): void;
  /** The others know another data directory under our id. */
  isDead(reason: string): void;
}

const bytesOf = (message: RaftMessage): number =>
  message.type === "rpc.append" ? message.entries.reduce((sum, { data }) => sum + data.length + 32, 64) : 128;

const answerCheck = TypeCompiler.Compile(RaftBatchAnswer);

/** @throws IMPLAUSIBLE_TERM, INVALID_MESSAGE: then none of them is taken, for they come from one state */
function assertAdmissible(messages: readonly RaftMessage[], end: RaftEnd): void {
  for (const message of messages) {
    const wrong = end.inadmissible(message);
    if (wrong) throw new Refusal(wrong.code, wrong.reason);
  }
}

/** @throws as above, and for an answer that another master cannot have given */
function answersOf(answer: Static<typeof RaftBatchAnswer>, from: NodeId, end: RaftEnd): RaftMessage[] {
  if (!answerCheck.Check(answer) || answer.messages.some((message) => message.from !== from))
    throw new Refusal("INVALID_MESSAGE", `What answers for ${from} is not an answer of ${from}`);
  assertAdmissible(answer.messages, end);
  return answer.messages;
}

export class RaftTransport {
  readonly #identity: Identity;
  readonly #urls: Map<NodeId, string>;
  readonly #log: Logger;
  readonly #lanes = new Map<string, LaneState>();
  /** Answers being put together for a peer whose request is still open. */
  readonly #collecting = new Map<NodeId, RaftMessage[]>();
  readonly #complainedAt = new Map<NodeId, number>();
  readonly #heard = new Map<NodeId, Heard>();
  readonly #heardAt = new Map<NodeId, number>();
  #end: RaftEnd | null = null;

  constructor(identity: Identity, masters: Config["masters"], log: Logger) {
    this.#identity = identity;
    this.#urls = new Map(masters.map(({ id, url }) => [id, url]));
    this.#log = log;
  }

  connect(end: RaftEnd): void {
    this.#end = end;
  }

  heard(id: NodeId): Heard | null {
    return this.#heard.get(id) ?? null;
  }

  /** When, on this node's own clock; null: not since its start. */
  heardAt(id: NodeId): number | null {
    return this.#heardAt.get(id) ?? null;
  }

  /** What it last called from, else what config.json says, else what the group agreed on. */
  urlOf(id: NodeId): string | null {
    return this.#heard.get(id)?.url ?? this.#urls.get(id) ?? this.#end?.configuration().nodes?.[id]?.url ?? null;
  }

  #knownIncarnation(id: NodeId): string | null {
    return this.#end?.configuration().nodes?.[id]?.incarnation ?? null;
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
    while (lane.queue.length > 0) {
      const messages = lane.queue.splice(0, fitting(lane.queue, bytesOf, MAX_BATCH_BYTES, MAX_BATCH_MESSAGES));
      const url = this.urlOf(to);
      const end = this.#end;
      if (url === null || end === null) continue;
      const { url: ownUrl, incarnation, knows } = end;
      try {
        const answer = await send<typeof MasterMailbox, "RAFT">(
          this.#identity,
          url,
          {
            type: "RAFT",
            url: ownUrl,
            incarnation,
            knows,
            mark: end.mark(),
            expects: this.#knownIncarnation(to),
            messages,
          },
          { timeoutMs: kind === "control" ? CONTROL_TIMEOUT_MS : DATA_TIMEOUT_MS, apart: true },
        );
        const answers = answersOf(answer, to, end);
        this.#note(to, url, answer);
        becauseOf(answer, () => {
          for (const message of answers) end.receive(message);
        });
      } catch (error) {
        this.#complain(to, error);
        if (kind === "data") end.unreachable(to);
        if (error instanceof Refusal && error.details.deadMaster === this.#identity.nodeId) end.isDead(error.message);
      }
    }
    lane.isSending = false;
  }

  #complain(to: NodeId, error: unknown): void {
    const code = error instanceof Refusal && isErrorCode(error.code) ? error.code : "INTERNAL";
    if (performance.now() - (this.#complainedAt.get(to) ?? Number.NEGATIVE_INFINITY) < COMPLAIN_EVERY_MS) return;
    this.#complainedAt.set(to, performance.now());
    const entry = { event: "peer-unreachable", peer: to, code, err: error };
    if (code === "IMPLAUSIBLE_TERM") this.#log.error(entry, `${to} and this master cannot follow each other's terms`);
    else this.#log.info(entry, "another master does not answer");
  }

  /** Takes a batch in, and answers with what the flush that it caused made us say to the sender. */
  async take(batch: MessageOf<typeof MasterMailbox, "RAFT">, sender: string): Promise<Static<typeof RaftBatchAnswer>> {
    const { messages, url } = batch;
    const end = this.#end;
    if (end === null) throw new Refusal("NOT_READY", "This master is still starting");
    const from = messages[0]?.from;
    if (from !== sender || messages.some((message) => message.from !== from))
      throw new Refusal("INVALID_MESSAGE", "A Raft batch comes from the one master that signed it");
    // The answer is about a master that used to run at this address, not about ours.
    const { nodeId } = this.#identity;
    if (messages.some(({ to }) => to !== nodeId)) throw new Refusal("NO_SUCH_MASTER", `At this address runs ${nodeId}`);
    this.#checkIncarnations(from, batch, end);
    assertAdmissible(messages, end);
    this.#note(from, url, batch);
    const isFirst = !this.#collecting.has(from);
    const answers = this.#collecting.get(from) ?? [];
    this.#collecting.set(from, answers);
    for (const message of messages) end.receive(message);
    // The driver flushes in the turn after this one.
    await new Promise<void>((resolve) => setImmediate(() => setImmediate(resolve)));
    const self = { incarnation: end.incarnation, knows: end.knows, mark: end.mark() };
    if (!isFirst) return { ...self, messages: [] };
    this.#collecting.delete(from);
    return { ...self, messages: answers };
  }

  #note(id: NodeId, url: string, told: { incarnation: string; knows?: number; mark?: StateMark }): void {
    this.#heardAt.set(id, performance.now());
    this.#heard.set(id, { url, incarnation: told.incarnation, knows: told.knows ?? 1, mark: told.mark ?? null });
  }

  #checkIncarnations(
    from: NodeId,
    { incarnation, expects }: { incarnation: string; expects: string | null },
    end: RaftEnd,
  ) {
    const known = this.#knownIncarnation(from);
    if (known !== null && known !== incarnation)
      throw new Refusal(
        "DEAD_MASTER",
        `${from} was known with another data directory: this one has forgotten its votes`,
        {
          deadMaster: from,
        },
      );
    if (expects === null || expects === end.incarnation) return;
    const reason = `${from} knows ${this.#identity.nodeId} with another data directory`;
    const members = membersOf(end.configuration());
    // A master of a history that was given up may say so too; it does not belong to this group.
    if (members.length === 0 || members.includes(from)) end.isDead(reason);
    throw new Refusal("DEAD_MASTER", reason);
  }
}
