/** Requests as bytes on a socket of their own: what no HTTP client would send. */
import { connect } from "node:net";

export interface RawAnswer {
  /** null: the connection was closed without an answer. */
  status: number | null;
  text: string;
}

/** Latin-1 text goes out byte by byte. @returns what came back, once its head is whole or the connection has ended */
export function rawRequest(url: string, text: string): Promise<RawAnswer> {
  const { hostname, port } = new URL(url);
  const { promise, resolve, reject } = Promise.withResolvers<RawAnswer>();
  let answer = "";
  const final = () => answer.replace(/^HTTP\/1\.1 100.*?\r\n\r\n/s, "");
  const socket = connect(Number(port), hostname, () => socket.write(Buffer.from(text, "latin1")));
  socket.setTimeout(30_000, () => {
    socket.destroy();
    reject(new Error(`no answer to ${JSON.stringify(text.slice(0, 500))}`));
  });
  socket.on("data", (bytes) => {
    answer += bytes.toString("latin1");
    if (/^HTTP\/1\.1 [2-9].*\r\n\r\n/s.test(final())) socket.destroy();
  });
  socket.on("error", () => {});
  socket.on("close", () => {
    const status = /^HTTP\/1\.1 (\d+)/.exec(final())?.[1];
    resolve({ status: status === undefined ? null : Number(status), text: answer });
  });
  return promise;
}
