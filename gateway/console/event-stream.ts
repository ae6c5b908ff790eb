/** What one page watches, as server-sent events: see `StreamEvents` in `api.ts`. */
import type { Console, Viewer } from "./console.ts";

/** After three of these without a word the page says that it shows the past. */
const HEARTBEAT_MS = 2000;
/** A page that falls this far behind is cut off. It reconnects and resumes. */
const MOST_BUFFERED_BYTES = 4 << 20;

class EventStream {
  readonly #console: Console;
  readonly #after: string | null;
  readonly #encoder = new TextEncoder();
  #controller: ReadableStreamDefaultController<Uint8Array> | null = null;
  #watching: ReturnType<Console["watch"]> | null = null;
  #beat: Timer | null = null;

  constructor(console: Console, after: string | null) {
    this.#console = console;
    this.#after = after;
  }

  start(controller: ReadableStreamDefaultController<Uint8Array>): void {
    this.#controller = controller;
    const viewer: Viewer = {
      records: (records, cursor) => this.#tell("records", { records }, cursor),
      nodes: (nodes) => this.#tell("nodes", nodes),
      report: (report) => this.#tell("report", report),
      drill: (drill) => this.#tell("drill", drill),
      end: () => this.end(),
    };
    this.#watching = this.#console.watch(this.#after, viewer);
    this.#beat = setInterval(() => this.#send(":hb\n\n"), HEARTBEAT_MS);
    const { cursor, resumed } = this.#watching;
    const hello = { cursor, resumed, boot: String(process.pid), now: Date.now() };
    this.#tell("hello", hello, resumed ? undefined : cursor);
    this.#tell("nodes", this.#console.nodes());
  }

  #tell(name: string, data: unknown, id?: string): void {
    this.#send(`event: ${name}\n${id === undefined ? "" : `id: ${id}\n`}data: ${JSON.stringify(data)}\n\n`);
  }

  #send(text: string): void {
    if ((this.#controller?.desiredSize ?? 0) < 0) this.end();
    else this.#controller?.enqueue(this.#encoder.encode(text));
  }

  /** A second call does nothing. */
  end(): void {
    const controller = this.#controller;
    if (!controller) return;
    this.#controller = null;
    if (this.#beat) clearInterval(this.#beat);
    this.#watching?.stop();
    try {
      controller.close();
    } catch {
      // the page has gone already
    }
  }
}

/** @param after a cursor of an earlier stream, to go on from there */
export function eventStream(console: Console, after: string | null, signal: AbortSignal): Response {
  const stream = new EventStream(console, after);
  const body = new ReadableStream<Uint8Array>(
    {
      start: (controller) => {
        stream.start(controller);
        signal.addEventListener("abort", () => stream.end(), { once: true });
      },
      cancel: () => stream.end(),
    },
    { highWaterMark: MOST_BUFFERED_BYTES, size: (chunk) => chunk?.byteLength ?? 0 },
  );
  return new Response(body, {
    headers: { "content-type": "text/event-stream", "cache-control": "no-store", "x-accel-buffering": "no" },
  });
}
