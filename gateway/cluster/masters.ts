/**
 * The gateway's line to the masters: finds the leader, asks it questions, and brings commands to effect exactly once.
 * A leader that dies and comes back, or another that takes over, costs the caller time and nothing else.
 */
import type { ClientCommand, CommandOf, CommandResult, ValueOf } from "../../actors/messages/commands.ts";
import type { Config } from "../../actors/messages/config.ts";
import { isErrorCode, Refusal } from "../../actors/messages/errors.ts";
import type { MasterMailbox } from "../../actors/messages/master.ts";
import { refusalOf } from "../../actors/node/answers.ts";
import type { AnswerOf, Identity, MessageOf } from "../../actors/node/mailbox.ts";
import { isRetryable, send } from "../../actors/node/outbox.ts";
import { sign } from "../../actors/node/signature.ts";
import { AS_SENT } from "../../actors/node/whole-body.ts";
import type { ChangeOptions, Consistency, ListPage, Masters, MastersOrder } from "../data-path-api.ts";
import { LeaderWatch } from "./leader-watch.ts";
import { askMasters, leaderAmong } from "./master-group.ts";

type Mailbox = typeof MasterMailbox;
type MessageType = keyof Mailbox & string;

const ATTEMPT_TIMEOUT_MS = 5000;
/** A master that does not lead has its answer at hand. */
const EVENTUAL_TIMEOUT_MS = 1000;
const QUERY_BUDGET_MS = 10_000;
const COMMAND_BUDGET_MS = 15_000;
/** No master even takes the connection: long enough for one that is being restarted, short enough for a person. */
const REFUSED_BUDGET_MS = 3000;
const MAX_HINTS = 3;
const BACKOFF_MS = { first: 50, most: 150 };
/** The masters keep 256 results per session; staying well below keeps every answer there until it was read. */
const MAX_IN_FLIGHT = 64;
const MAX_SEQUENCE_SPAN = 192;
/** Questions and commands that wait for masters at once; beyond, only what a transfer under way depends on is taken. */
const MAX_WAITING = 8192;

interface Session {
  sessionId: number;
  nextSeq: number;
  /** In rising order, because a sequence number is added when it is drawn. */
  inFlight: Set<number>;
}

export interface Patience {
  /** Try no longer than this. */
  budgetMs?: number;
  /** A transfer depends on it that has begun: masters that refuse connections are waited for as long as others. */
  underWay?: boolean;
}

export interface ExecuteOptions extends Patience {
  idempotencyKey?: string;
}

/** Whoever was reached has certainly not taken the message. */
class NeverTaken extends Refusal {
  constructor(type: string, triedMs: number, last: Refusal) {
    super("NO_LEADER", `No master took ${type} within ${Math.round(triedMs)} ms: ${last.message}`);
  }
}

export class MasterClient implements Masters {
  /** By id: those of config.json, and those that joined since. */
  readonly #masters: Map<string, string>;
  readonly #identity: Identity;
  readonly #leaderWatch = new LeaderWatch(
    (except) =>
      leaderAmong(
        this.#identity,
        this.#urls.filter((url) => url !== except),
      ),
    (url) => {
      this.#leaderUrl = url;
    },
  );
  #leaderUrl: string;
  #clusterId: string | null = null;
  #session: Promise<Session> | null = null;
  readonly #waiting: (() => void)[] = [];
  readonly #maxWaiting: number;
  #waitingCount = 0;

  constructor(config: Pick<Config, "masters">, gatewayId: string, secret: string, maxWaiting = MAX_WAITING) {
    this.#maxWaiting = maxWaiting;
    this.#masters = new Map(config.masters.map(({ id, url }) => [id, url]));
    this.#leaderUrl = config.masters[0]?.url as string;
    this.#identity = { nodeId: gatewayId, secret, clusterId: () => this.#clusterId };
  }

  get identity(): Identity {
    return this.#identity;
  }

  get #urls(): string[] {
    return [...new Set(this.#masters.values())];
  }

  /**
   * A question that may be answered from a state of some age: the masters that do not lead are asked first, in any
   * order, and the leader if none of them is fresh enough.
   */
  read<T extends "STAT" | "LOCATE" | "LIST">(
    message: MessageOf<Mailbox, T> & { type: T; consistency?: Consistency },
  ): Promise<AnswerOf<Mailbox, T>> {
    if (message.consistency !== "eventual") return this.ask<T>(message);
    return this.#counted({}, async () => {
      const others = this.#urls.filter((url) => url !== this.#leaderUrl).sort(() => Math.random() - 0.5);
      for (const url of others) {
        try {
          return await send<Mailbox, T>(this.#identity, url, message, { timeoutMs: EVENTUAL_TIMEOUT_MS });
        } catch (error) {
          if (!isRetryable(error)) throw error;
        }
      }
      return this.#ask<T>(message, {});
    });
  }

  /**
   * Asks the leader; asks again, here or elsewhere, until one answers.
   *
   * @throws the leader's refusal, or NO_LEADER when none answered within `budgetMs`, or all refused the connection for
   *   some seconds; OVERLOADED when too many wait already
   */
  ask<T extends MessageType>(
    message: MessageOf<Mailbox, T> & { type: T },
    patience: Patience = {},
  ): Promise<AnswerOf<Mailbox, T>> {
    return this.#counted(patience, () => this.#ask<T>(message, patience));
  }

  async #ask<T extends MessageType>(
    message: MessageOf<Mailbox, T> & { type: T },
    { underWay = false, budgetMs = underWay ? COMMAND_BUDGET_MS : QUERY_BUDGET_MS }: Patience,
  ): Promise<AnswerOf<Mailbox, T>> {
    try {
      return await this.#persist<T>(() => message, budgetMs, underWay);
    } catch (error) {
      if (error instanceof NeverTaken) throw error;
      if (isRetryable(error) && (error as Refusal).code !== "OVERLOADED")
        throw new Refusal("NO_LEADER", `No master answered within ${budgetMs} ms: ${(error as Error).message}`);
      throw error;
    }
  }

  /**
   * Brings a command to effect, once, whatever happens to messages and masters on the way.
   *
   * @throws the command's own refusal; NO_LEADER or OVERLOADED when no master can have taken it;
   *   OUTCOME_UNKNOWN when no answer came in time, or the session ended meanwhile
   */
  execute<C extends ClientCommand>(command: C, options: ExecuteOptions = {}): Promise<ValueOf<C["type"]>> {
    return this.#counted(options, () => this.#execute(command, options));
  }

  async #counted<T>({ underWay = false }: Patience, work: () => Promise<T>): Promise<T> {
    if (!underWay && this.#waitingCount >= this.#maxWaiting)
      throw new Refusal("OVERLOADED", `${this.#waitingCount} requests of this gateway wait for the masters already`);
    this.#waitingCount++;
    try {
      return await work();
    } finally {
      this.#waitingCount--;
    }
  }

  async #execute<C extends ClientCommand>(
    command: C,
    { idempotencyKey, budgetMs = COMMAND_BUDGET_MS, underWay = false }: ExecuteOptions,
  ): Promise<ValueOf<C["type"]>> {
    const { session, seq } = await this.#draw(underWay);
    const message = { type: "EXECUTE", sessionId: session.sessionId, seq, command } as const;
    let attempts = 0;
    try {
      const { result } = await this.#persist<"EXECUTE">(
        () => {
          attempts++;
          const [lowestUnacked = seq] = session.inFlight;
          return { ...message, lowestUnacked, idempotencyKey: idempotencyKey ?? null };
        },
        budgetMs,
        underWay,
      );
      return acceptedValue(result) as ValueOf<C["type"]>;
    } catch (error) {
      if (!(error instanceof Refusal) || error instanceof NeverTaken) throw error;
      if (error.code === "SESSION_EXPIRED") {
        if (await this.#isCurrent(session)) this.#session = null;
        // Sent once and refused for its session: certainly not applied, so a new session may take it.
        if (attempts === 1) return await this.#execute(command, { idempotencyKey, budgetMs, underWay });
      }
      if (error.code === "OVERLOADED") throw error;
      if (isRetryable(error) || error.code === "SESSION_EXPIRED" || error.code === "STALE_SEQUENCE")
        throw new Refusal("OUTCOME_UNKNOWN", `${command.type}: ${error.message}`, { cause: error.code });
      throw error;
    } finally {
      session.inFlight.delete(seq);
      // Those whom the span of numbers still keeps out wait again, for whoever holds the lowest one.
      this.#letIn(MAX_IN_FLIGHT - session.inFlight.size);
    }
  }

  #letIn(count: number): void {
    for (const proceed of this.#waiting.splice(0, count)) proceed();
  }

  async #isCurrent(session: Session): Promise<boolean> {
    return (await this.#session?.catch(() => null)) === session;
  }

  async #draw(underWay: boolean): Promise<{ session: Session; seq: number }> {
    for (;;) {
      this.#session ??= this.#openSession(underWay);
      const session = await this.#session.catch((error) => {
        // No command of ours will end and let the others in.
        this.#letIn(this.#waiting.length);
        throw error;
      });
      const [lowest = session.nextSeq] = session.inFlight;
      if (session.inFlight.size < MAX_IN_FLIGHT && session.nextSeq - lowest < MAX_SEQUENCE_SPAN) {
        const seq = session.nextSeq++;
        session.inFlight.add(seq);
        return { session, seq };
      }
      await new Promise<void>((proceed) => this.#waiting.push(proceed));
    }
  }

  /** A session opened twice because an answer was lost costs a row that the masters expire. */
  #openSession(underWay: boolean): Promise<Session> {
    const opening = (async () => {
      if (this.#clusterId === null) await this.#learnCluster({ underWay });
      const { result } = await this.#ask<"EXECUTE">(
        {
          type: "EXECUTE",
          sessionId: 0,
          seq: 0,
          lowestUnacked: 0,
          idempotencyKey: null,
          command: { type: "OPEN_SESSION", clientId: this.#identity.nodeId },
        },
        { budgetMs: COMMAND_BUDGET_MS, underWay },
      );
      const { sessionId } = acceptedValue(result) as ValueOf<"OPEN_SESSION">;
      return { sessionId, nextSeq: 1, inFlight: new Set<number>() };
    })();
    opening.catch(() => {
      if (this.#session === opening) this.#session = null;
    });
    return opening;
  }

  async #persist<T extends MessageType>(
    message: () => MessageOf<Mailbox, T> & { type: T },
    budgetMs: number,
    underWay: boolean,
  ): Promise<AnswerOf<Mailbox, T>> {
    const startedAt = performance.now();
    const deadline = startedAt + budgetMs;
    /** Masters that refused the connection: as long as nothing else happened, there is little to wait for. */
    const refusedBy = new Set<string>();
    let hasAnswered = false;
    /** The last failure after which a master may have taken the message all the same. */
    let unclear: unknown = null;
    let pauseMs = BACKOFF_MS.first;
    for (let hints = 0; ; ) {
      const url = this.#leaderUrl;
      const leftMs = Math.max(deadline - performance.now(), 1);
      try {
        const timeoutMs = Math.min(ATTEMPT_TIMEOUT_MS, leftMs);
        return await this.#leaderWatch.over(url, (signal) =>
          send<Mailbox, T>(this.#identity, url, message(), { timeoutMs, signal }),
        );
      } catch (error) {
        if (!isRetryable(error)) throw error;
        const { code, details } = error as Refusal;
        if (details.connectionRefused) refusedBy.add(url);
        else hasAnswered = true;
        if (!details.connectionRefused && !details.notTaken && code !== "OVERLOADED") unclear = error;
        if (code === "NOT_LEADER" && typeof details.leaderUrl === "string" && hints < MAX_HINTS) {
          hints++;
          this.#leaderUrl = details.leaderUrl;
          continue;
        }
        hints = 0;
        const waitMs = pauseMs * (0.5 + Math.random());
        const isNobodyThere = !hasAnswered && this.#urls.every((known) => refusedBy.has(known));
        const limit = isNobodyThere && !underWay ? Math.min(deadline, startedAt + REFUSED_BUDGET_MS) : deadline;
        if (performance.now() + waitMs >= limit) {
          if (unclear !== null || code === "OVERLOADED") throw unclear ?? error;
          throw new NeverTaken(message().type, performance.now() - startedAt, error as Refusal);
        }
        if (this.#leaderUrl === url && code !== "OVERLOADED") this.#leaderUrl = this.#anotherUrl(url);
        await Bun.sleep(waitMs);
        pauseMs = Math.min(pauseMs * 2, BACKOFF_MS.most);
      }
    }
  }

  #anotherUrl(url: string): string {
    const others = this.#urls.filter((other) => other !== url);
    return others[Math.floor(Math.random() * others.length)] ?? url;
  }

  async stat(path: string) {
    return (await this.ask({ type: "STAT", path })).entry;
  }

  async look(path: string, consistency: Consistency) {
    const { entry, ageMs = 0 } = await this.read<"STAT">({ type: "STAT", path, consistency });
    return { entry, ageMs };
  }

  list({ minIndex = 0, ...page }: ListPage) {
    return this.read<"LIST">({ type: "LIST", minIndex, ...page });
  }

  rename(from: string, to: string, options: ChangeOptions & { overwrite?: boolean } = {}) {
    return this.execute({ type: "RENAME_PATH", ...move(from, to, options) }, options);
  }

  copy(from: string, to: string, options: ChangeOptions & { overwrite?: boolean } = {}) {
    return this.execute({ type: "COPY_PATH", ...move(from, to, options) }, options);
  }

  delete(path: string, options: ChangeOptions & { recursive?: boolean } = {}) {
    const { condition = {}, recursive = false } = options;
    return this.execute<CommandOf<"DELETE_PATH">>({ type: "DELETE_PATH", path, recursive, condition }, options);
  }

  makeDirectory(path: string, options: { idempotencyKey?: string } = {}) {
    return this.execute<CommandOf<"MAKE_DIRECTORY">>({ type: "MAKE_DIRECTORY", path }, options);
  }

  explain(path: string, fromIndex: number, limit: number) {
    return this.ask({ type: "EXPLAIN", path, fromIndex, limit });
  }

  clusterState(patience: Patience = {}) {
    return this.#counted(patience, () => this.#learnCluster(patience));
  }

  async #learnCluster(patience: Patience) {
    const state = await this.#ask<"CLUSTER_STATE">({ type: "CLUSTER_STATE" }, patience);
    this.#clusterId ??= state.clusterId;
    for (const { id, url } of state.masters) this.#masters.set(id, url);
    return state;
  }

  view() {
    return askMasters(this.#identity, this.#masters);
  }

  async order(order: MastersOrder) {
    if ("transfer" in order) await this.ask({ type: "TRANSFER_LEADERSHIP", to: order.transfer });
    else if ("add" in order)
      await this.ask({ type: "CHANGE_MASTERS", change: "addLearner", id: order.add, url: order.url });
    else await this.ask({ type: "CHANGE_MASTERS", change: "remove", id: order.remove, url: null });
    if ("add" in order) this.#masters.set(order.add, order.url);
    return this.view();
  }

  async backup(signal: AbortSignal) {
    // Finds the leader first: the stream itself follows no hints.
    await this.clusterState();
    const path = "/raft/backup";
    const response = await fetch(`${this.#leaderUrl}${path}`, {
      ...AS_SENT,
      headers: { authorization: sign(this.#identity.secret, this.#identity.nodeId, "GET", path, "") },
      signal,
    });
    if (!response.ok || !response.body) throw await refusalOf(response, this.#leaderUrl);
    return response.body as ReadableStream<Uint8Array>;
  }

  async setWorkerMode(
    workerId: string,
    mode: CommandOf<"SET_WORKER_MODE">["mode"],
    options: { idempotencyKey?: string } = {},
  ) {
    await this.execute({ type: "SET_WORKER_MODE", workerId, mode }, options);
  }
}

const move = (
  from: string,
  to: string,
  { overwrite = false, condition = {} }: ChangeOptions & { overwrite?: boolean },
) => ({
  from,
  to,
  overwrite,
  condition,
});

/** What a command answered; its refusal is thrown. */
function acceptedValue(result: CommandResult): unknown {
  if (result.ok) return result.value;
  throw new Refusal(isErrorCode(result.code) ? result.code : "INTERNAL", result.message, result.details);
}
