/** Runs as a Worker: checks a database beside the thread that goes on using it. */
import { checkDatabase, isDamage } from "../sqlite.ts";

declare const self: Worker;

self.onmessage = async ({ data }: MessageEvent<{ path: string; dutyShare: number }>) => {
  try {
    self.postMessage({ ok: true, damage: await checkDatabase(data.path, data.dutyShare) });
  } catch (cause) {
    const { message } = cause as Error;
    self.postMessage(isDamage(cause) ? { ok: true, damage: message } : { ok: false, message });
  }
};
