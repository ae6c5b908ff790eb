/** Lives whole clusters, one seed after the other, as it is told. What they run on is put in place before they are loaded. */
import { install } from "./globals.ts";
import type { SystemLifeOptions } from "./simulate-system.ts";

declare const self: Worker;

install();
const loaded = import("./simulate-system.ts");

export interface LifeOrder extends Omit<SystemLifeOptions, "prepare"> {
  seed: number;
  /** The life comes back together with a recording of it. */
  record?: boolean;
}

self.onmessage = async ({ data: { seed, record, ...options } }: MessageEvent<LifeOrder>) => {
  const { simulateSystem } = await loaded;
  if (record) {
    const { recordSystemLife } = await import("./record-system.ts");
    self.postMessage(recordSystemLife(seed, options));
  } else self.postMessage(simulateSystem(seed, options));
};
