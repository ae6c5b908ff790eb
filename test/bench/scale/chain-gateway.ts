/**
 * For scale: the front of a bare chain. Takes a body of any size, copies it into blocks of 512 KiB with a CRC-32 over each,
 * and sends them on, six in flight; when all are stored it has them flushed, and answers. It asks nobody for anything.
 *
 *     bun chain-gateway.ts <port of the first sink>
 */
import { announce } from "./announce.ts";

const BLOCK_BYTES = 512 << 10;
const BLOCKS_IN_FLIGHT = 6;

const next = `http://127.0.0.1:${process.argv[2]}`;

async function call(method: string, path: string, body?: Uint8Array<ArrayBuffer>): Promise<void> {
  const answer = await fetch(`${next}${path}`, { method, body });
  if (!answer.ok) throw new Error(`The sink answered ${answer.status}: ${await answer.text()}`);
}

async function take(body: AsyncIterable<Uint8Array>): Promise<number> {
  const inFlight = new Set<Promise<void>>();
  const spare: Uint8Array<ArrayBuffer>[] = [];
  let block = new Uint8Array(BLOCK_BYTES);
  let filled = 0;
  let size = 0;
  const send = async (): Promise<void> => {
    const full = block;
    const bytes = full.subarray(0, filled);
    const sent = call("PUT", `/${size - filled}/${Bun.hash.crc32(bytes)}`, bytes).then(() => {
      inFlight.delete(sent);
      spare.push(full);
    });
    inFlight.add(sent);
    if (inFlight.size >= BLOCKS_IN_FLIGHT) await Promise.race(inFlight);
    block = spare.pop() ?? new Uint8Array(BLOCK_BYTES);
    filled = 0;
  };
  for await (const piece of body)
    for (let at = 0; at < piece.length; ) {
      const part = piece.subarray(at, at + BLOCK_BYTES - filled);
      block.set(part, filled);
      at += part.length;
      filled += part.length;
      size += part.length;
      if (filled === BLOCK_BYTES) await send();
    }
  if (filled > 0) await send();
  await Promise.all(inFlight);
  await call("POST", "/flush");
  return size;
}

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  maxRequestBodySize: Number.MAX_SAFE_INTEGER,
  fetch: async ({ body }) => Response.json({ size: body ? await take(body) : 0 }),
});
announce(server);
