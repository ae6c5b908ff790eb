/** Lives whole clusters, one seed after the other, as it is told. What they run on is put in place before they are loaded. */
import { answerOrders } from "../thread-report.ts";
import { ProcessEnded } from "./computer.ts";
import { install } from "./globals.ts";
import type { SystemBug } from "./planted-bugs.ts";
import type { RecordedSystemLife } from "./record-system.ts";
import type { SystemFailure, SystemLife, SystemLifeOptions } from "./simulate-system.ts";

install();
const loaded = load();

async function load() {
  const [{ watchShippedClasses }, { copyWithoutThreads }] = await Promise.all([
    import("./system-checks.ts"),
    import("./system.ts"),
  ]);
  watchShippedClasses();
  copyWithoutThreads();
  return import("./simulate-system.ts");
}

export interface LifeOrder extends Omit<SystemLifeOptions, "prepare" | "begins"> {
  seed: number;
  /** The life comes back together with a recording of it. */
  record?: boolean;
  /** A mistake to plant for the length of this life, in the weather that brings it out. */
  bug?: SystemBug;
}
export type BegunLife = Pick<SystemFailure, "seed" | "knobs" | "stormMs" | "plan">;
export type LifeAnswer = SystemLife | SystemFailure | RecordedSystemLife;

// What a program that has ended still throws, it throws into nothing.
process.on("unhandledRejection", (reason) => {
  if (!(reason instanceof ProcessEnded) && (reason as Error | null)?.name !== "InvariantBroken") throw reason;
});

async function live(
  { seed, record, bug, ...options }: LifeOrder,
  begins: (begun: BegunLife) => void,
): Promise<LifeAnswer> {
  const { simulateSystem } = await loaded;
  const { recordSystemLife } = await import("./record-system.ts");
  const { SYSTEM_BUGS } = await import("./planted-bugs.ts");
  const { plant, ...weather } = (bug && SYSTEM_BUGS[bug]) ?? {};
  const takeOut = plant?.();
  const life = { ...options, ...weather, begins };
  try {
    return record ? recordSystemLife(seed, life) : simulateSystem(seed, life);
  } finally {
    takeOut?.();
  }
}

answerOrders(live);
