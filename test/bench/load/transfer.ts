/** Load generator: puts or gets one file per connection, all at once; `bytesPerSecond` makes slow readers of them. */
import { assertStatus, HttpConnection } from "./http-connection.ts";
import { randomBytes, runAsLoad } from "./load-process.ts";

export interface TransferTask {
  verb: "put" | "get";
  url: string;
  paths: string[];
  /** Of each file. */
  sizeBytes: number;
  /** Of each reader; 0 = as fast as it goes. */
  bytesPerSecond: number;
  /** Readers stop after this; 0 = at the end of the file. */
  stopAfterMs: number;
}

export interface TransferResult {
  bytes: number;
}

const PATTERN_BYTES = 64 << 20;

async function put(connection: HttpConnection, path: string, body: Uint8Array, sizeBytes: number): Promise<number> {
  const answer = await connection.request("PUT", path, { body, bodyBytes: sizeBytes });
  assertStatus(answer, 200, 201);
  const { size } = JSON.parse(Buffer.from(answer.body).toString()) as { size: number };
  if (size !== sizeBytes) throw new Error(`${sizeBytes} bytes were put, ${size} are there`);
  return size;
}

async function get(connection: HttpConnection, path: string, task: TransferTask): Promise<number> {
  const began = performance.now();
  let bytes = 0;
  const pace = (piece: Uint8Array): void => {
    bytes += piece.length;
    if (task.bytesPerSecond === 0) return;
    const aheadMs = (bytes / task.bytesPerSecond) * 1000 - (performance.now() - began);
    if (aheadMs < 20) return;
    connection.pause();
    setTimeout(() => connection.resume(), aheadMs);
  };
  const wholeFile = connection.request("GET", path, { onBody: pace });
  if (task.stopAfterMs > 0) {
    await Promise.race([wholeFile, Bun.sleep(task.stopAfterMs)]);
    connection.close();
    return bytes;
  }
  const answer = assertStatus(await wholeFile, 200);
  const crc32 = answer.crc32.toString(16).padStart(8, "0");
  if (bytes !== task.sizeBytes) throw new Error(`${bytes} of ${task.sizeBytes} bytes came`);
  if (answer.headers.has("x-crc32") && answer.headers.get("x-crc32") !== crc32)
    throw new Error(`The bytes have the checksum ${crc32}, not ${answer.headers.get("x-crc32")}`);
  return bytes;
}

await runAsLoad<TransferTask, TransferResult>(async (task) => {
  const body = task.verb === "put" ? randomBytes(Math.min(PATTERN_BYTES, task.sizeBytes)) : new Uint8Array(0);
  const connections = await Promise.all(task.paths.map(() => HttpConnection.open(task.url)));
  return async () => {
    const transfers = task.paths.map((path, n) => {
      const connection = connections[n] as HttpConnection;
      return task.verb === "put" ? put(connection, path, body, task.sizeBytes) : get(connection, path, task);
    });
    return { bytes: (await Promise.all(transfers)).reduce((sum, bytes) => sum + bytes, 0) };
  };
});
