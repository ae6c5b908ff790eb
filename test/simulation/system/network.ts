/**
 * The network of a simulated life: HTTP between programs, request by request. A request arrives whole or not at all, an
 * answer too; either may be late, lost, or come when nobody waits any more; messages may come twice. A lost one is
 * silence, as with TCP behind a cut cable: only the sender's own patience ends it.
 */
import type { World } from "../world.ts";
import type { Computer, Handle, Program } from "./computer.ts";

export interface Weather {
  /** Probabilities, per request and per answer. */
  loss: number;
  duplication: number;
  maxDelayMs: number;
}

interface Server {
  program: Program;
  handle: Handle;
}

const refused = (url: string): Error =>
  Object.assign(new Error(`Unable to connect to ${url}`), { code: "ECONNREFUSED" });
const reset = (url: string): Error =>
  Object.assign(new Error(`The connection to ${url} broke`), { code: "ECONNRESET" });
const aborted = (signal: AbortSignal): unknown => signal.reason ?? new DOMException("Aborted", "AbortError");
const WITHOUT_BODY = new Set([101, 204, 205, 304]);

/** Piece by piece, as a server sends it. */
async function bytesOf(stream: ReadableStream<Uint8Array> | null): Promise<Uint8Array<ArrayBuffer>> {
  const pieces: Uint8Array[] = [];
  for await (const piece of stream ?? []) pieces.push(piece.slice());
  return new Uint8Array(Buffer.concat(pieces));
}

export class Network {
  readonly #servers = new Map<number, Server>();
  /** Directed links that carry nothing, "a>b", and how many troubles cut each. */
  readonly #cut = new Map<string, number>();
  readonly #random: () => number;
  requests = 0;
  lost = 0;

  constructor(
    readonly world: World,
    readonly weather: Weather,
  ) {
    this.#random = world.random("network");
  }

  /** @param links directed, "a>b" @returns what mends these links again */
  cut(links: readonly string[]): () => void {
    for (const link of links) this.#cut.set(link, (this.#cut.get(link) ?? 0) + 1);
    return () => {
      for (const link of links) this.#cut.set(link, (this.#cut.get(link) ?? 0) - 1);
    };
  }

  /** Mends everything, whatever mends itself later. */
  heal(): void {
    this.#cut.clear();
  }

  serve(program: Program, port: number, handle: Handle): { stop(): void } {
    const server = { program, handle };
    const before = this.#servers.get(port);
    if (before?.program.isAlive)
      throw Object.assign(new Error(`Failed to start server. Is port ${port} in use?`), { code: "EADDRINUSE" });
    this.#servers.set(port, server);
    const stop = (): void => {
      if (this.#servers.get(port) === server) this.#servers.delete(port);
    };
    program.onEnd.push(stop);
    return { stop };
  }

  #delay(): number {
    const { maxDelayMs } = this.weather;
    // Mostly near, now and then far: the tail is what finds things.
    const share = this.#random();
    return 0.05 + maxDelayMs * (share < 0.9 ? share * 0.1 : share);
  }

  #carries(from: Computer, to: Computer): boolean {
    if ((this.#cut.get(`${from.id}>${to.id}`) ?? 0) > 0) return false;
    return from === to || this.#random() >= this.weather.loss;
  }

  async request(program: Program, url: string, init: RequestInit): Promise<Response> {
    const from = program.computer;
    const signal = init.signal ?? undefined;
    if (signal?.aborted) throw aborted(signal);
    const isStream = init.body instanceof ReadableStream;
    const body = init.body == null ? null : await bytesOf(new Response(init.body).body);
    const headers = new Headers(init.headers);
    if (body && !headers.has("content-type") && typeof init.body === "string")
      headers.set("content-type", "text/plain;charset=utf-8");
    if (body && !isStream) headers.set("content-length", String(body.byteLength));
    const { host, port } = new URL(url);
    headers.set("host", host);
    this.requests++;
    if (signal) program.signals.add(signal);

    return new Promise<Response>((resolve, reject) => {
      let isSettled = false;
      const settle = (delayMs: number, act: () => void): void => {
        from.later(program, delayMs, () => {
          if (isSettled) return;
          isSettled = true;
          act();
        });
      };
      /** Tells the server, if it is reached at all, that nobody waits any more. */
      let leave: () => void = () => {};
      const gone = new AbortController();
      /** Of the answer whose head has come. */
      let breakBody: (reason: unknown) => void = () => {};
      signal?.addEventListener("abort", () => {
        leave();
        breakBody(aborted(signal));
        if (isSettled) return;
        isSettled = true;
        reject(aborted(signal));
      });
      const take = (response: Response, breaks: (reason: unknown) => void): void => {
        breakBody = breaks;
        resolve(response);
      };
      const deliver = (): void => {
        const server = this.#servers.get(Number(port));
        if (!server?.program.isAlive) {
          settle(this.#delay(), () => reject(refused(url)));
          return;
        }
        const to = server.program.computer;
        if (!this.#carries(from, to)) {
          this.lost++;
          return;
        }
        leave = () => void to.later(server.program, this.#delay(), () => gone.abort());
        to.later(server.program, this.#delay(), () => {
          const request = new Request(url, { method: init.method ?? "GET", headers, body, signal: gone.signal });
          server.program.signals.add(request.signal);
          const end = (): void => settle(this.#delay(), () => reject(reset(url)));
          void server.program
            .during(end, async () => {
              const response = await server.handle(request, {});
              if (this.#carries(to, from)) return this.#answer(response, settle, take, server.program, program);
              this.lost++;
              // Its connection breaks sooner or later, and a server stops reading for one that is broken.
              await response.body?.cancel();
            })
            .catch(end);
        });
      };
      deliver();
      if (/\/messages(\/batch)?$/.test(url) && this.#random() < this.weather.duplication)
        this.world.schedule(this.#delay() * 3, deliver);
    });
  }

  /** The head of an answer, then its pieces one behind the other; a piece that is lost takes the rest with it. */
  async #answer(
    response: Response,
    settle: (delayMs: number, act: () => void) => void,
    take: (response: Response, breakBody: (reason: unknown) => void) => void,
    answering: Program,
    asking: Program,
  ): Promise<void> {
    const { status, headers } = response;
    let arrivesAt = this.world.now;
    const later = (act: () => void): void => {
      arrivesAt = Math.max(arrivesAt + 0.001, this.world.now + this.#delay());
      this.world.schedule(arrivesAt - this.world.now, () => void asking.computer.later(asking, 0, act));
    };
    let controller: ReadableStreamDefaultController<Uint8Array> | undefined;
    let isOpen = true;
    const body = new ReadableStream<Uint8Array>({
      start(given) {
        controller = given;
      },
      cancel() {
        isOpen = false;
      },
    });
    const hasBody = !WITHOUT_BODY.has(status);
    arrivesAt += this.#delay();
    const breakNow = (reason: unknown): void => {
      if (isOpen) controller?.error(reason);
      isOpen = false;
    };
    settle(arrivesAt - this.world.now, () => take(new Response(hasBody ? body : null, { status, headers }), breakNow));
    const close = (act: () => void): void =>
      later(() => {
        if (isOpen) act();
        isOpen = false;
      });
    const break_ = (): void => close(() => controller?.error(reset("the server")));
    const pieces = async (): Promise<void> => {
      for await (const piece of response.body ?? []) {
        if (!this.#carries(answering.computer, asking.computer)) return;
        const bytes = piece.slice();
        later(() => isOpen && controller?.enqueue(bytes));
      }
      close(() => controller?.close());
    };
    await answering.during(break_, pieces).catch(break_);
  }
}
