/** Runs as a Worker: copies a database beside the thread that goes on using it. */
import { copyDatabase } from "../sqlite.ts";

declare const self: Worker;

self.onmessage = ({ data }: MessageEvent<{ from: string; to: string }>) => {
  try {
    copyDatabase(data.from, data.to);
    self.postMessage({ ok: true });
  } catch (cause) {
    self.postMessage({ ok: false, message: (cause as Error).message });
  }
};
