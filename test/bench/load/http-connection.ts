/**
 * One keep-alive HTTP/1.1 connection over a bare socket: as little client as possible, so that a load generator on the
 * same processors takes little from the cluster that it measures. Knows bodies of stated length and chunked ones.
 */
import type { Socket } from "bun";

export interface Answer {
  status: number;
  headers: Map<string, string>;
  /** Of the body, whether or not it was collected. */
  lengthBytes: number;
  crc32: number;
  /** The body; empty if the caller took it piece by piece. */
  body: Uint8Array;
}

export interface Sending {
  headers?: Record<string, string>;
  /** Sent again and again until `bodyBytes` have gone out. */
  body?: Uint8Array;
  bodyBytes?: number;
  /** Takes the answer's body instead of collecting it. */
  onBody?: (piece: Uint8Array) => void;
}

interface Exchange {
  unsent: { bytes: Uint8Array; from: number; left: number }[];
  isHead: boolean;
  onBody: ((piece: Uint8Array) => void) | undefined;
  resolve: (answer: Answer) => void;
  reject: (error: Error) => void;
}

type Expecting = "head" | "body" | "chunk size" | "chunk" | "chunk end" | "trailer";

const WRITE_BYTES = 1 << 20;
const NOTHING = new Uint8Array(0);

export class HttpConnection {
  readonly #host: string;
  #socket: Socket | undefined;
  #exchange: Exchange | null = null;
  #expecting: Expecting = "head";
  #line = "";
  #left = 0;
  #answer: Answer = HttpConnection.#noAnswer();
  #pieces: Uint8Array[] = [];

  private constructor(host: string) {
    this.#host = host;
  }

  static async open(url: string): Promise<HttpConnection> {
    const { hostname, port, host } = new URL(url);
    const connection = new HttpConnection(host);
    connection.#socket = await Bun.connect({
      hostname,
      port: Number(port),
      socket: {
        data: (_, bytes) => connection.#receive(bytes),
        drain: () => connection.#send(),
        close: () => connection.#fail(new Error(`${host} closed the connection`)),
        error: (_, error) => connection.#fail(error),
      },
    });
    connection.#socket.setNoDelay(true);
    return connection;
  }

  /** One request at a time. @throws when the connection breaks */
  request(method: string, path: string, { headers = {}, body, bodyBytes, onBody }: Sending = {}): Promise<Answer> {
    const length = bodyBytes ?? body?.length ?? 0;
    const lines = Object.entries({ host: this.#host, ...headers, ...(length > 0 ? { "content-length": length } : {}) });
    if (length === 0 && method !== "GET" && method !== "HEAD") lines.push(["content-length", 0]);
    const head = Buffer.from(
      `${method} ${path} HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`,
    );
    const unsent: Exchange["unsent"] = [];
    if (body && length === body.length && length < WRITE_BYTES) {
      const whole = Buffer.concat([head, body]);
      unsent.push({ bytes: whole, from: 0, left: whole.length });
    } else {
      unsent.push({ bytes: head, from: 0, left: head.length });
      if (body && length > 0) unsent.push({ bytes: body, from: 0, left: length });
    }
    return new Promise((resolve, reject) => {
      this.#exchange = { unsent, isHead: method === "HEAD", onBody, resolve, reject };
      this.#send();
    });
  }

  pause(): void {
    this.#socket?.pause();
  }
  resume(): void {
    this.#socket?.resume();
  }
  close(): void {
    this.#exchange = null;
    this.#socket?.terminate();
  }

  static #noAnswer(): Answer {
    return { status: 0, headers: new Map(), lengthBytes: 0, crc32: 0, body: NOTHING };
  }

  #send(): void {
    const unsent = this.#exchange?.unsent;
    while (unsent?.[0]) {
      const part = unsent[0];
      const at = part.from % part.bytes.length;
      const piece = part.bytes.subarray(at, at + Math.min(part.left, WRITE_BYTES));
      const written = this.#socket?.write(piece) ?? 0;
      if (written < 0) return;
      part.from += written;
      part.left -= written;
      if (part.left === 0) unsent.shift();
      else if (written < piece.length) return;
    }
  }

  #receive(bytes: Uint8Array): void {
    let at = 0;
    while (at < bytes.length && this.#exchange) {
      if (this.#expecting === "body" || this.#expecting === "chunk") {
        const piece = bytes.subarray(at, at + this.#left);
        at += piece.length;
        this.#left -= piece.length;
        this.#take(piece);
        if (this.#left > 0) continue;
        if (this.#expecting === "chunk") this.#expecting = "chunk end";
        else this.#finish();
      } else {
        const end = bytes.indexOf(10, at);
        const stop = end === -1 ? bytes.length : end + 1;
        this.#line += Buffer.from(bytes.buffer, bytes.byteOffset + at, stop - at).toString("latin1");
        at = stop;
        if (end !== -1) this.#takeLine();
      }
    }
  }

  #takeLine(): void {
    const line = this.#line.trimEnd();
    this.#line = "";
    if (this.#expecting === "chunk end") this.#expecting = "chunk size";
    else if (this.#expecting === "trailer") line === "" && this.#finish();
    else if (this.#expecting === "chunk size") {
      this.#left = Number.parseInt(line, 16);
      this.#expecting = this.#left === 0 ? "trailer" : "chunk";
    } else if (line !== "") this.#takeHeader(line);
    else this.#headEnded();
  }

  #takeHeader(line: string): void {
    if (this.#answer.status === 0) this.#answer.status = Number(line.split(" ", 2)[1]);
    else {
      const colon = line.indexOf(":");
      this.#answer.headers.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
    }
  }

  #headEnded(): void {
    const { status, headers } = this.#answer;
    if (status === 100) {
      this.#answer = HttpConnection.#noAnswer();
      return;
    }
    this.#left = Number(headers.get("content-length") ?? 0);
    if (this.#exchange?.isHead || status === 204 || status === 304) this.#finish();
    else if (headers.get("transfer-encoding") === "chunked") this.#expecting = "chunk size";
    else if (this.#left === 0) this.#finish();
    else this.#expecting = "body";
  }

  #take(piece: Uint8Array): void {
    this.#answer.lengthBytes += piece.length;
    this.#answer.crc32 = Bun.hash.crc32(piece, this.#answer.crc32);
    if (this.#exchange?.onBody) this.#exchange.onBody(piece);
    else this.#pieces.push(piece.slice());
  }

  #finish(): void {
    const { resolve } = this.#exchange as Exchange;
    const answer = { ...this.#answer, body: Buffer.concat(this.#pieces) };
    this.#exchange = null;
    this.#expecting = "head";
    this.#answer = HttpConnection.#noAnswer();
    this.#pieces = [];
    resolve(answer);
  }

  #fail(error: Error): void {
    this.#exchange?.reject(error);
    this.#exchange = null;
  }
}

/** @throws with the answer's own words unless its status is one of `wanted` */
export function assertStatus(answer: Answer, ...wanted: number[]): Answer {
  if (wanted.includes(answer.status)) return answer;
  throw new Error(`The gateway answered ${answer.status}: ${Buffer.from(answer.body).toString().slice(0, 500)}`);
}
