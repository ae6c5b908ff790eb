/** Lives whole clusters, one seed after the other, as it is told. What they run on is put in place before they are loaded. */
import { install } from "./globals.ts";
import type { SystemBug } from "./planted-bugs.ts";
import type { SystemLifeOptions } from "./simulate-system.ts";

declare const self: Worker;

install();
const loaded = import("./simulate-system.ts");

export interface LifeOrder extends Omit<SystemLifeOptions, "prepare"> {
  seed: number;
  /** The life comes back together with a recording of it. */
  record?: boolean;
  /** A mistake to plant for the length of this life, in the weather that brings it out. */
  bug?: SystemBug;
}

self.onmessage = async ({ data: { seed, record, bug, ...options } }: MessageEvent<LifeOrder>) => {
  const { simulateSystem } = await loaded;
  const { recordSystemLife } = await import("./record-system.ts");
  const { SYSTEM_BUGS } = await import("./planted-bugs.ts");
  const planted = bug && SYSTEM_BUGS[bug];
  const takeOut = planted?.plant();
  const { knobs, plan } = planted ?? {};
  const life = { ...options, ...(knobs && { knobs }), ...(plan && { plan }) };
  try {
    self.postMessage(record ? recordSystemLife(seed, life) : simulateSystem(seed, life));
  } finally {
    takeOut?.();
  }
};
