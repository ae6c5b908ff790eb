/** Requests as bytes on a socket of their own: what no HTTP client would send. */
import { connect } from "node:net";

export interface RawAnswer {
  /** null: the connection was closed without an answer. */
  status: number | null;
  text: string;
}

/** Whether all that its head announces of an answer is here. A body of unknown length is not waited for. */
function isWhole(answer: string, hasBody: boolean): boolean {
  const head = /^HTTP\/1\.1 [2-9].*?\r\n\r\n/s.exec(answer)?.[0];
  if (head === undefined) return false;
  const announced = hasBody ? /\r\ncontent-length: *(\d+)/i.exec(head)?.[1] : undefined;
  return answer.length >= head.length + Number(announced ?? 0);
}

/** Latin-1 text goes out byte by byte. @returns what came back, once the answer is whole or the connection has ended */
export function rawRequest(url: string, text: string): Promise<RawAnswer> {
  const { hostname, port } = new URL(url);
  const hasBody = !text.startsWith("HEAD ");
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
    if (isWhole(final(), hasBody)) socket.destroy();
  });
  socket.on("error", () => {});
  socket.on("close", () => {
    const status = /^HTTP\/1\.1 (\d+)/.exec(final())?.[1];
    resolve({ status: status === undefined ? null : Number(status), text: answer });
  });
  return promise;
}

/** Sends latin-1 text, as much as there is of a request, and hangs up once it was `taken`, without an answer. */
export async function hangUpAfter(
  url: string,
  text: string,
  taken: () => Promise<unknown> = () => Bun.sleep(100),
): Promise<void> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname, () => socket.write(Buffer.from(text, "latin1")));
  socket.resume().on("error", () => {});
  await taken();
  socket.destroy();
}
