/** Commands of this gateway to the masters, each with a number in a session: sent again, it takes effect once. */
import type { ClientCommand, CommandResult, ValueOf } from "../../actors/messages/commands.ts";
import { isErrorCode, Refusal } from "../../actors/messages/errors.ts";
import { isRetryable } from "../../actors/node/outbox.ts";
import { COMMAND_BUDGET_MS, type LeaderSearch, NeverTaken, type Patience } from "./leader-search.ts";

/** The masters keep 256 results per session; staying well below keeps every answer there until it was read. */
const MAX_IN_FLIGHT = 64;
const MAX_SEQUENCE_SPAN = 192;

interface Session {
  sessionId: number;
  nextSeq: number;
  /** In rising order, because a sequence number is added when it is drawn. */
  inFlight: Set<number>;
}

export interface ExecuteOptions extends Patience {
  idempotencyKey?: string;
}

export class CommandSession {
  readonly #search: LeaderSearch;
  readonly #gatewayId: string;
  readonly #learnCluster: (patience: Patience) => Promise<void>;
  #session: Promise<Session> | null = null;
  readonly #waiting: (() => void)[] = [];

  /** @param learnCluster before the first session: which cluster is this? */
  constructor(search: LeaderSearch, gatewayId: string, learnCluster: (patience: Patience) => Promise<void>) {
    this.#search = search;
    this.#gatewayId = gatewayId;
    this.#learnCluster = learnCluster;
  }

  /**
   * Brings a command to effect, once, whatever happens to messages and masters on the way.
   *
   * @throws the command's own refusal; NO_LEADER or OVERLOADED when no master can have taken it;
   *   OUTCOME_UNKNOWN when no answer came in time, or the session ended meanwhile
   */
  async execute<C extends ClientCommand>(
    command: C,
    { idempotencyKey, budgetMs = COMMAND_BUDGET_MS, underWay = false }: ExecuteOptions,
  ): Promise<ValueOf<C["type"]>> {
    const { session, seq } = await this.#draw(underWay);
    const message = { type: "EXECUTE", sessionId: session.sessionId, seq, command } as const;
    let attempts = 0;
    try {
      const { result } = await this.#search.persist<"EXECUTE">(
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
        if (attempts === 1) return await this.execute(command, { idempotencyKey, budgetMs, underWay });
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
      await this.#learnCluster({ underWay });
      const { result } = await this.#search.ask<"EXECUTE">(
        {
          type: "EXECUTE",
          sessionId: 0,
          seq: 0,
          lowestUnacked: 0,
          idempotencyKey: null,
          command: { type: "OPEN_SESSION", clientId: this.#gatewayId },
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
}

/** What a command answered; its refusal is thrown. */
function acceptedValue(result: CommandResult): unknown {
  if (result.ok) return result.value;
  throw new Refusal(isErrorCode(result.code) ? result.code : "INTERNAL", result.message, result.details);
}
