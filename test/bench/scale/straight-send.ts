/**
 * For scale: files as `Bun.serve` sends them by itself, one request each.
 *
 *     bun straight-send.ts <file> <file> …      GET /0, GET /1, …
 */
import { announce } from "./announce.ts";

const files = process.argv.slice(2);

const server = Bun.serve({
  hostname: "127.0.0.1",
  port: 0,
  fetch: (request) => {
    const file = files[Number(new URL(request.url).pathname.slice(1))];
    return file ? new Response(Bun.file(file)) : new Response(null, { status: 404 });
  },
});
announce(server);
