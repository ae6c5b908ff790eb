/** Commands of this gateway to the masters, each with a number in a session: sent again, it takes effect once. */
import type { ClientCommand, CommandResult, ValueOf } from "../../actors/messages/commands.ts";
import { isErrorCode, Refusal } from "../../actors/messages/errors.ts";
import { isRetryable } from "../../actors/node/messaging/outbox.ts";
import type { Principal } from "../access/principal.ts";
import { type LeaderSearch, NeverTaken, type Tries } from "./leader-search.ts";
import type { Patience } from "./patience.ts";

/** The masters keep 256 results per session. Staying well below keeps every answer there until it is read. */
const MAX_IN_FLIGHT = 64;
const MAX_SEQUENCE_SPAN = 192;

interface Session {
  sessionId: number;
  nextSeq: number;
  /** In rising order, because a sequence number is added when it is drawn. */
  inFlight: Set<number>;
}

export interface ExecuteOptions extends Patience {
  /** In whose name. It ends here: no message to the masters has a field for it yet. */
  by: Principal;
  idempotencyKey?: string;
}

export class CommandSession {
  readonly #search: LeaderSearch;
  readonly #gatewayId: string;
  readonly #learnCluster: (tries: Tries) => Promise<void>;
  #session: Session | null = null;
  #opening: Promise<Session> | null = null;
  readonly #waiting = new Set<() => void>();

  /** @param learnCluster one try, before the first session: which cluster is this? */
  constructor(search: LeaderSearch, gatewayId: string, learnCluster: (tries: Tries) => Promise<void>) {
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
  execute<C extends ClientCommand>(
    command: C,
    { idempotencyKey, ...patience }: ExecuteOptions,
  ): Promise<ValueOf<C["type"]>> {
    return this.#execute(command, idempotencyKey ?? null, this.#search.begin(command.type, patience, true));
  }

  async #execute<C extends ClientCommand>(
    command: C,
    idempotencyKey: string | null,
    tries: Tries,
  ): Promise<ValueOf<C["type"]>> {
    const { session, seq } = await this.#draw(tries);
    const message = { type: "EXECUTE", sessionId: session.sessionId, seq, command, idempotencyKey } as const;
    let attempts = 0;
    try {
      const { result } = await this.#search.persist<"EXECUTE">(() => {
        attempts++;
        const [lowestUnacked = seq] = session.inFlight;
        return { ...message, lowestUnacked };
      }, tries);
      return acceptedValue(result) as ValueOf<C["type"]>;
    } catch (error) {
      if (!(error instanceof Refusal) || error instanceof NeverTaken) throw error;
      if (error.code === "SESSION_EXPIRED") {
        if (this.#session === session) this.#session = null;
        // Sent once and refused for its session: the command was not applied, so a new session may send it.
        if (attempts === 1) return await this.#execute(command, idempotencyKey, tries);
      }
      if (error.code === "OVERLOADED") throw error;
      if (isRetryable(error) || error.code === "SESSION_EXPIRED" || error.code === "STALE_SEQUENCE")
        throw new Refusal("OUTCOME_UNKNOWN", `${command.type}: ${error.message}`, { cause: error.code });
      throw error;
    } finally {
      session.inFlight.delete(seq);
      // Commands that the span of numbers still keeps out wait again, until the lowest number is given back.
      this.#letIn(MAX_IN_FLIGHT - session.inFlight.size);
    }
  }

  #letIn(count: number): void {
    for (const proceed of [...this.#waiting].slice(0, count)) {
      this.#waiting.delete(proceed);
      proceed();
    }
  }

  async #draw(tries: Tries): Promise<{ session: Session; seq: number }> {
    for (;;) {
      const session = this.#session ?? (await this.#opened(tries));
      const [lowest = session.nextSeq] = session.inFlight;
      if (session.inFlight.size < MAX_IN_FLIGHT && session.nextSeq - lowest < MAX_SEQUENCE_SPAN) {
        const seq = session.nextSeq++;
        session.inFlight.add(seq);
        return { session, seq };
      }
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#waiting.add(resolve);
      try {
        await this.#search.within(tries, promise);
      } catch (error) {
        // It was let in just now and leaves: let the next one in.
        if (!this.#waiting.delete(resolve)) this.#letIn(1);
        throw error;
      }
    }
  }

  /** Commands that wait share each try to open a session; each waits for as long as its own patience lasts. */
  async #opened(tries: Tries): Promise<Session> {
    for (;;) {
      this.#opening ??= this.#open().finally(() => {
        this.#opening = null;
      });
      try {
        return await this.#search.within(tries, this.#opening);
      } catch (error) {
        await this.#search.again(tries, error, false).catch((refusal) => {
          // No command is under way whose end would let the others in.
          this.#letIn(this.#waiting.size);
          throw refusal;
        });
      }
    }
  }

  /** One try. If its answer is lost, a second session is opened; the masters expire the first. */
  async #open(): Promise<Session> {
    const tries = this.#search.begin("OPEN_SESSION", { underWay: true });
    await this.#learnCluster(tries);
    const { result } = await this.#search.attempt<"EXECUTE">(
      {
        type: "EXECUTE",
        sessionId: 0,
        seq: 0,
        lowestUnacked: 0,
        idempotencyKey: null,
        command: { type: "OPEN_SESSION", clientId: this.#gatewayId },
      },
      tries,
    );
    const { sessionId } = acceptedValue(result) as ValueOf<"OPEN_SESSION">;
    this.#session = { sessionId, nextSeq: 1, inFlight: new Set<number>() };
    return this.#session;
  }
}

/** What a command answered; its refusal is thrown. */
function acceptedValue(result: CommandResult): unknown {
  if (result.ok) return result.value;
  throw new Refusal(isErrorCode(result.code) ? result.code : "INTERNAL", result.message, result.details);
}
