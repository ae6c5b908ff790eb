import { outsideRequest } from "./trace/trace-context.ts";

/** Time as a node's own clock tells it. A port, so that tests and simulations turn it themselves. */
export interface Clock {
  /** Monotonic, in ms from an arbitrary moment: no two nodes' clocks can be compared. */
  now(): number;
  /** ms since the epoch, for people and for files that outlive the process. It may jump. */
  wallTime(): number;
  setTimeout(callback: (...args: unknown[]) => void, ms: number): unknown;
  clearTimeout(handle: unknown): void;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  wallTime: () => Date.now(),
  // A timer outlives the request that armed it.
  setTimeout: (callback, ms) => outsideRequest(() => setTimeout(callback, ms)),
  clearTimeout: (handle) => clearTimeout(handle as Timer),
};
