/** Runs as a Worker: copies a database into a new file by `VACUUM INTO`, beside the thread that goes on using it. */
import { Database } from "bun:sqlite";

declare const self: Worker;

self.onmessage = ({ data }: MessageEvent<{ from: string; to: string }>) => {
  try {
    const db = new Database(data.from, { readonly: true });
    db.query("VACUUM INTO ?").run(data.to);
    db.close();
    self.postMessage({ ok: true });
  } catch (cause) {
    self.postMessage({ ok: false, message: (cause as Error).message });
  }
};
