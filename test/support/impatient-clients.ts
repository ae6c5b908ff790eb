/** Clients that leave before their answer is there: each a socket of its own, cut off as by a power loss. */
import { connect } from "node:net";

export interface Leaving {
  /** Leaves after so many bytes of the answer. */
  afterBytes?: number;
  /** Leaves after so long at the latest. */
  afterMs: number;
}

/** Sends a GET and leaves. @returns how many bytes came before */
export function askAndLeave(
  url: string,
  headers: Record<string, string>,
  { afterBytes = Number.POSITIVE_INFINITY, afterMs }: Leaving,
): Promise<number> {
  const { hostname, port, pathname } = new URL(url);
  const { promise, resolve } = Promise.withResolvers<number>();
  const socket = connect(Number(port), hostname);
  const lines = Object.entries({ host: `${hostname}:${port}`, ...headers }).map(([name, value]) => `${name}: ${value}`);
  let bytes = 0;
  const timer = setTimeout(() => socket.destroy(), afterMs);
  socket.on("data", (piece) => {
    bytes += piece.length;
    if (bytes >= afterBytes) socket.destroy();
  });
  socket.on("error", () => {});
  socket.on("close", () => {
    clearTimeout(timer);
    resolve(bytes);
  });
  socket.write(`GET ${pathname} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`);
  return promise;
}

/** Runs `count` pieces of work, `atOnce` of them at a time. */
export async function inCrowds(count: number, atOnce: number, work: (n: number) => Promise<unknown>): Promise<void> {
  let next = 0;
  const one = async () => {
    while (next < count) await work(next++);
  };
  await Promise.all(Array.from({ length: atOnce }, one));
}
