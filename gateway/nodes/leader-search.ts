/**
 * The way to the leader. A request goes to the master that is taken for the leader, and elsewhere until one answers: to the
 * master that others name, to one that has taken over, or, past a cut link, through one that passes it on.
 *
 * A leader that is frozen, or behind a cut link, takes a request and never answers. So once a request has waited for a
 * while, the masters are asked for their status, once for all that wait. Their answers decide whether a request waits on,
 * goes another way, or is refused.
 */
import { Refusal } from "../../actors/messages/errors.ts";
import type { MasterMailbox, Passed } from "../../actors/messages/master.ts";
import type { Identity } from "../../actors/node/identity/identity.ts";
import type { AnswerOf, MessageOf } from "../../actors/node/messaging/mailbox.ts";
import { isRefusedAsNode, isRetryable, send } from "../../actors/node/messaging/outbox.ts";
import { outsideRequest } from "../../actors/node/trace/trace-context.ts";
import { askedWaitMs } from "../ports/asked-wait.ts";
import { asOurFault } from "../ports/inner-refusal.ts";
import { isSilent, type Outlook, outlookOf, SILENT_AFTER_MS, type Sighting } from "./outlook.ts";
import { type Effort, longestMs, type Patience, patienceMs } from "./patience.ts";

type Mailbox = typeof MasterMailbox;
export type MessageType = keyof Mailbox & string;

/** Bounds of one try, ms. A try cut short would leave a command's outcome open for nothing. */
const ATTEMPT_MS = { least: 250, most: 5000 };
const STATUS_TIMEOUT_MS = 1000;
/** The masters are asked for their status once a request has waited this long. */
const ASK_AFTER_MS = 300;
/** A request is given up, and sent another way, only after this. */
const SLOW_AFTER_MS = 750;
const LOOK_EVERY_MS = 100;
const ASK_EVERY_MS = 300;
/** On a detour, the straight way is tried this often. */
const RETURN_EVERY_MS = 1000;
const MAX_HINTS = 3;
const BACKOFF_MS = { first: 50, most: 150 };

/** The request has certainly had no effect. */
export class NeverTaken extends Refusal {}

interface Route {
  url: string;
  /** The master there passes on what is meant for the leader. */
  isDetour: boolean;
}

/** What one request has tried so far. */
export interface Tries extends Effort {
  what: string;
  startedAt: number;
  hints: number;
  pauseMs: number;
  /** The last failure after which a master may still have taken the command. */
  unclear: unknown;
  /** Masters that take nothing of this gateway. */
  misfits: Set<string>;
  /** Where the latest try went. */
  route: Route | null;
}

interface Waiting {
  tries: Tries;
  /** null: waits for something else than an answer. */
  route: Route | null;
  since: number;
  given: AbortController;
}

export class LeaderSearch {
  readonly #identity: Identity;
  /** By id: those of config.json, and those that joined since. */
  readonly masters: Map<string, string>;
  readonly #sightings = new Map<string, Sighting>();
  readonly #waiting = new Set<Waiting>();
  #route: Route;
  #timer: Timer | null = null;
  #nextLookAt = 0;

  constructor(identity: Identity, masters: ReadonlyMap<string, string>) {
    this.#identity = identity;
    this.masters = new Map(masters);
    this.#route = { url: this.urls[0] as string, isDetour: false };
  }

  get urls(): string[] {
    return [...new Set(this.masters.values())];
  }

  /** The URL of the master taken for the leader; null: only a detour leads there. */
  get leaderUrl(): string | null {
    return this.#route.isDetour ? null : this.#route.url;
  }

  begin(what: string, patience: Patience = {}, isCommand = false): Tries {
    return {
      ...patience,
      what,
      isCommand,
      isUnclear: false,
      waitMs: askedWaitMs(),
      startedAt: performance.now(),
      hints: 0,
      pauseMs: BACKOFF_MS.first,
      unclear: null,
      misfits: new Set(),
      route: null,
    };
  }

  /**
   * Asks the leader; asks again, here or elsewhere, until one answers.
   *
   * @throws the leader's refusal; NO_LEADER if none answered in time, or none is expected soon
   */
  async ask<T extends MessageType>(
    message: MessageOf<Mailbox, T> & { type: T },
    patience: Patience = {},
    tries: Tries = this.begin(message.type, patience),
  ): Promise<AnswerOf<Mailbox, T>> {
    return this.persist<T>(() => message, tries);
  }

  /** @throws as `again` */
  async persist<T extends MessageType>(
    message: () => MessageOf<Mailbox, T> & { type: T },
    tries: Tries,
  ): Promise<AnswerOf<Mailbox, T>> {
    for (;;)
      try {
        return await this.attempt<T>(message(), tries);
      } catch (error) {
        await this.again(tries, error, tries.isCommand);
      }
  }

  /** One try, given up when the leader turns out to be elsewhere, or patience ends. */
  async attempt<T extends MessageType>(
    message: MessageOf<Mailbox, T> & { type: T },
    tries: Tries,
  ): Promise<AnswerOf<Mailbox, T>> {
    const route = this.#route;
    tries.route = route;
    const leftMs = longestMs(tries) - (performance.now() - tries.startedAt);
    const timeoutMs = Math.min(Math.max(leftMs, ATTEMPT_MS.least), ATTEMPT_MS.most);
    if (route.isDetour) this.#lookAround(RETURN_EVERY_MS);
    return this.#while(tries, route, async (signal) => {
      if (!route.isDetour) return send<Mailbox, T>(this.#identity, route.url, message, { timeoutMs, signal });
      const passed = { type: "PASS_ON", message: message as unknown as Passed } as const;
      const answer = await send<Mailbox, "PASS_ON">(this.#identity, route.url, passed, { timeoutMs, signal });
      return answer as AnswerOf<Mailbox, T>;
    });
  }

  /** Waits for a promise that other requests share, while patience lasts. @throws NO_LEADER, and what it throws */
  async within<T>(tries: Tries, shared: Promise<T>): Promise<T> {
    return this.#while(tries, null, (signal) => {
      const given = new Promise<never>((_, reject) =>
        signal.addEventListener("abort", () => reject(this.#refusal(tries, this.#outlook()))),
      );
      given.catch(() => {});
      return Promise.race([shared, given]);
    });
  }

  /**
   * After a try that failed: waits until the next one makes sense.
   *
   * @param counts true: the try may have had an effect, unless its failure says otherwise
   * @throws the failure, if trying again would not help; NO_LEADER, as `NeverTaken`, or a failure that leaves the outcome
   *   open, when patience has ended
   */
  async again(tries: Tries, error: unknown, counts: boolean): Promise<void> {
    const refusedUs = isRefusedAsNode(error);
    if (!refusedUs && !isRetryable(error)) throw error;
    const { code, details } = error as Refusal;
    const tried = tries.route ?? this.#route;
    if (refusedUs) this.#noteMisfit(tries, error, tried.url);
    else if (counts && !details.connectionRefused && !details.notTaken && code !== "OVERLOADED") {
      tries.unclear = error;
      tries.isUnclear = true;
    }
    if (code === "NOT_LEADER" && this.#follow(details.leaderUrl, tries)) return;
    tries.hints = 0;
    this.#lookAround(ASK_EVERY_MS);
    const waitMs = tries.pauseMs * (0.5 + Math.random());
    const giveUpIfOver = (aheadMs: number): void => {
      const outlook = this.#outlook();
      if (!this.#isOver(tries, outlook, aheadMs)) return;
      if (tries.unclear !== null) throw tries.unclear;
      if (code === "OVERLOADED") throw error;
      throw refusedUs ? asOurFault(error, tried.url) : this.#refusal(tries, outlook, error as Refusal);
    };
    giveUpIfOver(waitMs);
    await Bun.sleep(waitMs);
    giveUpIfOver(0);
    tries.pauseMs = Math.min(tries.pauseMs * 2, BACKOFF_MS.most);
    if (this.#route === tried && code !== "OVERLOADED") this.#turn(tried);
  }

  /** @throws if no other master can be asked: all refuse, or the others name this one again */
  #noteMisfit({ misfits, unclear }: Tries, refusal: Refusal, url: string): void {
    const isBack = misfits.has(url);
    misfits.add(url);
    if (isBack || this.urls.every((other) => misfits.has(other))) throw unclear ?? asOurFault(refusal, url);
  }

  /** @returns whether the hint is worth a try at once */
  #follow(hint: unknown, tries: Tries): boolean {
    if (typeof hint !== "string" || tries.hints >= MAX_HINTS) return false;
    if (this.#isSilent(hint)) return false;
    tries.hints++;
    this.#route = { url: hint, isDetour: false };
    return true;
  }

  /** After a failure: to the master that the others point to, or to any other. */
  #turn(tried: Route): void {
    const others = this.urls.filter((url) => url !== tried.url);
    const any = others[Math.floor(Math.random() * others.length)] ?? tried.url;
    this.#route = routeBy(this.#outlook()) ?? { url: any, isDetour: false };
  }

  #outlook(): Outlook {
    this.#noticeAbsence();
    const sightings = [...this.masters].map(([id, url]) => this.#sightings.get(url) ?? neverAsked(id, url));
    return outlookOf(sightings, performance.now());
  }

  /** While this process stood still, no master was silent: a question open meanwhile proves nothing unless it is answered. */
  #noticeAbsence(): void {
    const now = performance.now();
    if (this.#timer === null || now - this.#nextLookAt < SILENT_AFTER_MS / 2) return;
    for (const sighting of this.#sightings.values())
      if (sighting.isOpen) Object.assign(sighting, { askedAt: now, silentSince: now, isSpoiled: true });
  }

  #isOver(tries: Tries, outlook: Outlook, aheadMs: number): boolean {
    return performance.now() + aheadMs - tries.startedAt >= patienceMs(tries, outlook);
  }

  #refusal({ what, startedAt }: Tries, outlook: Outlook, last?: Refusal): NeverTaken {
    const waitedMs = Math.round(performance.now() - startedAt);
    const why = outlook.kind === "none" ? outlook.why : (last?.message ?? "they have not elected one yet");
    return new NeverTaken("NO_LEADER", `No master took ${what} within ${waitedMs} ms: ${why}`, { waitedMs });
  }

  // ── looking around ───────────────────────────────────────────────────────────────────────────────────────────────

  /** Asks all masters for their status, except those that were asked within the last `everyMs`. */
  #lookAround(everyMs: number): void {
    const now = performance.now();
    for (const [id, url] of this.masters) {
      const sighting = this.#sightings.get(url) ?? neverAsked(id, url);
      if (sighting.isOpen || now - sighting.askedAt < everyMs) continue;
      this.#sightings.set(url, sighting);
      const silentSince = sighting.silentSince ?? now;
      Object.assign(sighting, { id, isOpen: true, isSpoiled: false, askedAt: now, silentSince });
      void send<Mailbox, "MASTER_STATUS">(
        this.#identity,
        url,
        { type: "MASTER_STATUS" },
        { timeoutMs: STATUS_TIMEOUT_MS },
      ).then(
        (status) => this.#saw(sighting, { status, failure: null, silentSince: null }),
        (error: Refusal) => {
          this.#noticeAbsence();
          if (sighting.isSpoiled && error.code === "TIMEOUT") Object.assign(sighting, neverAsked(id, url));
          else this.#saw(sighting, { status: null, ...failureOf(error, sighting) });
        },
      );
    }
  }

  #saw(sighting: Sighting, seen: Pick<Sighting, "status" | "failure" | "silentSince">): void {
    Object.assign(sighting, seen, { isOpen: false, answeredAt: performance.now() });
    const straight = this.#route.isDetour ? routeBy(this.#outlook()) : null;
    if (straight && !straight.isDetour) this.#route = straight;
  }

  /** Runs `work`, whose signal fires when it is to be given up. */
  async #while<T>(tries: Tries, route: Route | null, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const waiting: Waiting = { tries, route, since: performance.now(), given: new AbortController() };
    this.#waiting.add(waiting);
    if (this.#timer === null) this.#lookAgain(ASK_AFTER_MS);
    try {
      return await work(waiting.given.signal);
    } finally {
      this.#waiting.delete(waiting);
    }
  }

  #lookAgain(inMs: number): void {
    this.#nextLookAt = performance.now() + inMs;
    this.#timer = outsideRequest(() => setTimeout(this.#look, inMs));
  }

  readonly #look = (): void => {
    this.#noticeAbsence();
    this.#timer = null;
    if (this.#waiting.size === 0) return;
    const now = performance.now();
    const waiting = [...this.#waiting];
    if (waiting.some(({ since }) => now - since >= ASK_AFTER_MS)) this.#lookAround(ASK_EVERY_MS);
    const slow = waiting.filter(({ since }) => now - since >= SLOW_AFTER_MS);
    if (slow.length > 0) this.#giveUp(slow);
    this.#lookAgain(LOOK_EVERY_MS);
  };

  /** Gives up requests that can go another way, and those whose patience has ended. */
  #giveUp(slow: readonly Waiting[]): void {
    const outlook = this.#outlook();
    const better = routeBy(outlook);
    for (const { tries, route, given } of slow) {
      const isElsewhere = route !== null && better !== null && better.url !== route.url;
      const leaves = isElsewhere && (this.#isSilent(route.url) || (!better.isDetour && !route.isDetour));
      if (!leaves && !this.#isOver(tries, outlook, 0)) continue;
      if (leaves && route === this.#route) this.#route = better;
      given.abort();
    }
  }

  #isSilent(url: string): boolean {
    const sighting = this.#sightings.get(url);
    return sighting !== undefined && isSilent(sighting, performance.now());
  }
}

/** The way that the masters' answers point to, if any. */
function routeBy(outlook: Outlook): Route | null {
  if (outlook.kind === "leads") return { url: outlook.url, isDetour: false };
  return outlook.kind === "behind" ? { url: outlook.via, isDetour: true } : null;
}

const neverAsked = (id: string, url: string): Sighting => ({
  id,
  url,
  askedAt: Number.NEGATIVE_INFINITY,
  isOpen: false,
  isSpoiled: false,
  silentSince: null,
  answeredAt: Number.NEGATIVE_INFINITY,
  status: null,
  failure: null,
});

function failureOf(error: Refusal, { silentSince }: Sighting): Pick<Sighting, "failure" | "silentSince"> {
  if (error.code === "TIMEOUT") return { failure: "does not answer", silentSince };
  if (error.details.connectionRefused === true) return { failure: "takes no connection", silentSince: null };
  return { failure: `cannot be asked: ${error.message}`, silentSince: null };
}
