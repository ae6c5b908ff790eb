/**
 * Puts a simulated computer beneath shipped code: clock, timers, chance, network and the slow parts of the disk.
 *
 * It replaces globals of this thread, and has to run before anything shipped is imported, because modules keep what they
 * imported by name: see `life-worker.ts`.
 */
import { around, currentProgram, ProcessEnded } from "./computer.ts";
import { installDisk } from "./disk-calls.ts";
import { noteStep } from "./turn-bound.ts";

const WALL_START = Date.UTC(2030, 0, 1);
/** What `setImmediate` waits for: the rest of the loop's turn. */
const TURN_MS = 0.01;

// biome-ignore lint/suspicious/noExplicitAny: the globals' own types are wider than what is put in their place
type Loose = any;

/** Replaces this thread's globals by ones that ask which program is running. Outside of programs they are as before. */
export function install(): void {
  const global = globalThis as Loose;
  const real = {
    setTimeout: global.setTimeout,
    setInterval: global.setInterval,
    setImmediate: global.setImmediate,
    clearTimeout: global.clearTimeout,
    clearInterval: global.clearInterval,
    clearImmediate: global.clearImmediate,
    fetch: global.fetch,
    random: Math.random,
    dateNow: Date.now,
    performanceNow: performance.now.bind(performance),
    sleep: Bun.sleep,
    abortAfter: AbortSignal.timeout.bind(AbortSignal),
    abortWithAny: AbortSignal.any.bind(AbortSignal),
    exit: process.exit,
    randomUUID: crypto.randomUUID.bind(crypto),
    getRandomValues: crypto.getRandomValues.bind(crypto),
  };

  class Handle {
    constructor(public planned: { cancelled: boolean }) {}
    ref(): this {
      return this;
    }
    unref(): this {
      return this;
    }
    hasRef(): boolean {
      return true;
    }
    [Symbol.toPrimitive](): number {
      return 0;
    }
  }
  const cancel = (otherwise: (handle: Loose) => void) => (handle: Loose) => {
    if (handle instanceof Handle) handle.planned.cancelled = true;
    else if (handle !== undefined && handle !== null) otherwise(handle);
  };

  global.setTimeout = (code: Loose, ms = 0, ...args: unknown[]) => {
    const program = currentProgram();
    if (!program) return real.setTimeout(code, ms, ...args);
    return new Handle(program.computer.later(program, Math.max(1, Number(ms) || 0), () => code(...args)));
  };
  global.setInterval = (code: Loose, ms = 1, ...args: unknown[]) => {
    const program = currentProgram();
    if (!program) return real.setInterval(code, ms, ...args);
    const handle = new Handle({ cancelled: false });
    const again = (): void => {
      handle.planned = program.computer.later(program, Math.max(1, ms), () => {
        again();
        code(...args);
      });
    };
    again();
    return handle;
  };
  global.setImmediate = (code: Loose, ...args: unknown[]) => {
    const program = currentProgram();
    if (!program) return real.setImmediate(code, ...args);
    return new Handle(program.computer.later(program, TURN_MS, () => code(...args)));
  };
  global.clearTimeout = cancel(real.clearTimeout);
  global.clearInterval = cancel(real.clearInterval);
  global.clearImmediate = cancel(real.clearImmediate);
  performance.now = () => {
    const program = currentProgram();
    if (!program) return real.performanceNow();
    noteStep(program);
    return program.computer.monotonic;
  };
  const wall = (): number => {
    const program = currentProgram();
    if (!program) return real.dateNow();
    noteStep(program);
    const { computer } = program;
    return Math.floor(WALL_START + computer.monotonic + computer.wallOffset);
  };
  Date.now = wall;
  global.Date = new Proxy(Date, {
    construct: (target, args, self) => Reflect.construct(target, args.length === 0 ? [wall()] : args, self),
  });
  Math.random = () => currentProgram()?.computer.random() ?? real.random();
  Object.assign(crypto, {
    getRandomValues: (array: Loose) => {
      const program = currentProgram();
      if (!program) return real.getRandomValues(array);
      const bytes = new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
      for (let n = 0; n < bytes.length; n++) bytes[n] = Math.floor(program.computer.random() * 256);
      return array;
    },
    randomUUID: () => {
      const program = currentProgram();
      if (!program) return real.randomUUID();
      const hex = Array.from({ length: 32 }, () => Math.floor(program.computer.random() * 16).toString(16)).join("");
      return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(17, 20)}-${hex.slice(20)}`;
    },
  });
  (Bun as Loose).sleep = (ms: number) => {
    const program = currentProgram();
    if (!program) return real.sleep(ms);
    return new Promise<void>((resolve) => void program.computer.later(program, Math.max(1, ms), resolve));
  };
  (AbortSignal as Loose).any = (signals: AbortSignal[]) => {
    const signal = real.abortWithAny(signals);
    currentProgram()?.signals.add(signal);
    return signal;
  };
  (AbortSignal as Loose).timeout = (ms: number) => {
    const program = currentProgram();
    if (!program) return real.abortAfter(ms);
    const controller = new AbortController();
    program.computer.later(program, ms, () =>
      controller.abort(new DOMException("The operation timed out.", "TimeoutError")),
    );
    return controller.signal;
  };
  const realServe = Bun.serve;
  (Bun as Loose).serve = (options: Loose) => {
    const program = currentProgram();
    if (!program) return realServe(options);
    const { hostname, port, fetch: handle } = options;
    const taken = around().serve(program, Number(port), handle);
    return {
      hostname,
      port,
      url: new URL(`http://${hostname}:${port}`),
      pendingRequests: 0,
      stop: async () => taken.stop(),
      reload: () => {},
      requestIP: () => ({ address: "127.0.0.1", port: 1, family: "IPv4" }),
      timeout: () => {},
      unref: () => {},
      ref: () => {},
    };
  };
  global.fetch = (input: Loose, init: RequestInit = {}) => {
    const program = currentProgram();
    if (!program) return real.fetch(input, init);
    // What a killed program still had in hand goes nowhere.
    if (!program.isAlive) return new Promise(() => {});
    return around().request(program, String(input?.url ?? input), init);
  };
  process.exit = ((code?: number) => {
    const program = currentProgram();
    if (!program) return real.exit(code);
    program.end(code ?? 0);
    throw new ProcessEnded(`exit ${code}`);
  }) as Loose;
  installDisk();
}
