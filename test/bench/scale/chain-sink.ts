/**
 * For scale: a link of a bare chain. Writes each block where it belongs while the next link has it, flushes when told, and
 * answers when the links behind it have done the same.
 *
 *     bun chain-sink.ts <file> [<port of the next sink>]
 */
import { fdatasync, openSync, rmSync, write } from "node:fs";
import { promisify } from "node:util";
import { announce } from "./announce.ts";

const [path, nextPort] = process.argv.slice(2) as [string, string | undefined];
const writeAsync = promisify(write);
const flush = promisify(fdatasync);
const file = openSync(path, "w", 0o600);

async function pass(method: string, to: string, body?: ArrayBuffer): Promise<void> {
  if (nextPort === undefined) return;
  const answer = await fetch(`http://127.0.0.1:${nextPort}${to}`, { method, body });
  if (!answer.ok) throw new Error(`The next sink answered ${answer.status}`);
}

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch: async (request) => {
    const { pathname } = new URL(request.url);
    if (request.method === "POST") await Promise.all([flush(file), pass("POST", pathname)]);
    else {
      const block = await request.arrayBuffer();
      const at = Number(pathname.split("/")[1]);
      await Promise.all([
        pass("PUT", pathname, block),
        writeAsync(file, new Uint8Array(block), 0, block.byteLength, at),
      ]);
    }
    return new Response(null);
  },
});
process.on("exit", () => rmSync(path, { force: true }));
announce(server);
