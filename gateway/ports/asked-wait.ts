/** How long the client of the request in hand wants a leader to be waited for: said at a door, heard by what asks masters. */
import { AsyncLocalStorage } from "node:async_hooks";

/** A client may ask for this at most. */
export const LONGEST_WAIT_MS = 60_000;

const waiting = new AsyncLocalStorage<number | null>();

/** Runs `work` for a client that wants a leader to be waited for, up to `waitMs`. */
export const withWait = <T>(waitMs: number, work: () => T): T => waiting.run(Math.min(waitMs, LONGEST_WAIT_MS), work);

/** Runs `work` for several clients at once: what one of them asked for does not count. */
export const withoutWait = <T>(work: () => T): T => (askedWaitMs() === null ? work() : waiting.run(null, work));

/** What the client of the request in hand asked for, ms; null: nothing. */
export const askedWaitMs = (): number | null => waiting.getStore() ?? null;
