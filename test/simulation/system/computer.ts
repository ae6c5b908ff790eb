/**
 * The computers of a simulated life, and the programs that run on them. A program is known by the asynchronous context
 * that its code runs in; it may end at any moment, and what it had planned then never happens.
 */

import { drainMicrotasks } from "bun:jsc";
import { AsyncLocalStorage } from "node:async_hooks";
import type { World } from "../world.ts";
import { SimulatedDisk } from "./disk.ts";

/** Thrown where a real process would have ended. */
export class ProcessEnded extends Error {
  override name = "ProcessEnded";
}

/** What a server does with a request, as `Bun.serve` takes it. */
export type Handle = (request: Request, server: unknown) => Promise<Response> | Response;

export interface Surroundings {
  world: World;
  /** Takes a request of a program to wherever it belongs. */
  request(from: Program, url: string, init: RequestInit): Promise<Response>;
  /** Lets a program answer at a port, until it stops to or ends. */
  serve(program: Program, port: number, handle: Handle): { stop(): void };
  /** A program does so much within one event that it may never let go of its event loop: ends it. */
  starves(program: Program, message: string): void;
}

const context = new AsyncLocalStorage<Program>();
let surroundings: Surroundings | undefined;
type Along = <T>(code: () => T) => () => T;
let along: Along = (code) => code;

/**
 * What goes along with a program's code to the moment when it runs, besides the program itself: nothing, unless told so
 * here. It never goes along to another program.
 */
export const takeAlong = (given: Along): void => {
  along = given;
};

export const surround = (given: Surroundings): void => {
  surroundings = given;
};
export const around = (): Surroundings => surroundings as Surroundings;

/** One run of a node, from its start to its end. What it has planned dies with it. */
export class Program {
  isAlive = true;
  exitCode: number | null = null;
  readonly onEnd: (() => void)[] = [];
  /** Held until it ends: a signal that follows another and is held by nobody may be collected, and then never tells. */
  readonly signals = new Set<AbortSignal>();

  constructor(readonly computer: Computer) {}

  /** Runs code as this program's. */
  within<T>(code: () => T): T {
    return context.run(this, along(code));
  }

  /** Does something for which the program must live on; if it ends before, that is told. */
  async during<T>(broken: () => void, work: () => Promise<T>): Promise<T> {
    this.onEnd.push(broken);
    try {
      return await work();
    } finally {
      const at = this.onEnd.indexOf(broken);
      if (at >= 0) this.onEnd.splice(at, 1);
    }
  }

  end(code: number | null): void {
    if (!this.isAlive) return;
    this.isAlive = false;
    this.exitCode = code;
    this.signals.clear();
    for (const then of this.onEnd) then();
  }
}

/** A computer with its own clock; runs one program at a time. */
export class Computer {
  program: Program | null = null;
  /** Until then nothing runs on it: a pause, as by SIGSTOP or a stalled host. World time, ms. */
  pausedUntil = 0;
  /** Its clock runs so many times as fast as the world's. */
  rate = 1;
  /** Its wall clock is so many ms ahead. */
  wallOffset = 0;
  readonly random: () => number;
  readonly disk: SimulatedDisk;

  constructor(
    readonly id: string,
    readonly world: World,
  ) {
    this.disk = new SimulatedDisk(world.random(`disk ${id}`));
    this.random = world.random(`computer ${id}`);
  }

  get monotonic(): number {
    return this.world.now * this.rate;
  }

  /** Calls a program's code after a time on this computer's clock, unless the program ended meanwhile. */
  later(program: Program, ms: number, code: () => void): { cancelled: boolean } {
    const planned = currentProgram() === program ? along(code) : code;
    return this.#plan(program, ms, planned, (delayMs, fire) => this.world.schedule(delayMs, fire));
  }

  /** The same for code that only looks on. */
  look(program: Program, ms: number, code: () => void): { cancelled: boolean } {
    return this.#plan(program, ms, code, (delayMs, fire) => this.world.look(delayMs, fire));
  }

  #plan(
    program: Program,
    ms: number,
    code: () => void,
    schedule: (delayMs: number, fire: () => void) => void,
  ): { cancelled: boolean } {
    const handle = { cancelled: false };
    const fire = (): void => {
      if (handle.cancelled || !program.isAlive) return;
      if (this.pausedUntil > this.world.now) {
        schedule(this.pausedUntil - this.world.now, fire);
        return;
      }
      program.within(code);
    };
    schedule(Math.max(0, ms) / this.rate, fire);
    return handle;
  }
}

export const currentProgram = (): Program | undefined => context.getStore();

/** Lets all that can go on without waiting go on. */
export const settle = (): void => drainMicrotasks();
