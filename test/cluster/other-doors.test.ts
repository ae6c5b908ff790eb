/** The servers beside the nodes: the launcher's socket, and a recording on show. */
import { afterAll, expect, test } from "bun:test";
import { mkdtempSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openLauncherControl } from "../../actors/launcher/control.ts";
import { launcherSocket } from "../../actors/node/launcher-socket.ts";
import configJson from "../../config.json";
import type { RecordingHeader } from "../../gateway/console/api.ts";
import { serveReplay } from "../../gateway/console/replay.ts";
import { type RawAnswer, rawRequest } from "../support/raw-request.ts";

const folder = mkdtempSync(join(tmpdir(), "dfs-doors-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const get = (target: string, host: string | null) =>
  `GET ${target} HTTP/1.0\r\n${host === null ? "" : `Host: ${host}\r\n`}\r\n`;

test("S9. the launcher's socket refuses a request without a valid Host, and takes any body", async () => {
  const config = { ...configJson, dataDirectory: folder } as never;
  const child = Bun.spawn(["sleep", "1000"]);
  const started: string[] = [];
  const close = openLauncherControl({
    config,
    nodes: () => [{ id: "worker-1", kind: "worker", directory: folder, process: child }],
    expectEnd: () => {},
    start: (id) => started.push(id),
  });
  const ask = (text: string): Promise<number> => {
    const { promise, resolve } = Promise.withResolvers<number>();
    const socket = connect(launcherSocket(config), () => socket.write(text));
    socket.on("data", (bytes) => {
      resolve(Number(/^HTTP\/1\.1 (\d+)/.exec(bytes.toString("latin1"))?.[1]));
      socket.destroy();
    });
    return promise;
  };
  try {
    expect(await ask(get("/nodes", "localhost"))).toBe(200);
    for (const host of [null, "", "a b", "["]) expect([host, await ask(get("/nodes", host))]).toEqual([host, 400]);
    expect(await ask(get("/x/../nodes", "localhost"))).toBe(400);
    for (const body of ["null", "[]", '"x"', "{", ""])
      expect([
        body,
        await ask(
          `POST /nodes/worker-1/corrupt HTTP/1.1\r\nHost: localhost\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
        ),
      ]).toEqual([body, 400]);
    expect([child.exitCode, started]).toEqual([null, []]);
  } finally {
    close();
    child.kill();
    await child.exited;
  }
});

test("S1. a recording on show is not for pages that lead another name here, and odd requests get 400", async () => {
  const header = { cluster: "c", software: "s", to: 1, timings: {}, machines: [] } as unknown as RecordingHeader;
  const { url, stop } = serveReplay(new Blob(["recorded"]), header, 0);
  const status = async (text: string): Promise<RawAnswer["status"]> => (await rawRequest(url, text)).status;
  try {
    for (const target of ["/console/api/recording", "/console/api/about", "/"]) {
      expect(await status(get(target, "evil.example"))).toBe(403);
      for (const host of [null, "a b", "[", "127.0.0.1:99999"])
        expect([host, await status(get(target, host))]).toEqual([host, 400]);
    }
    expect(await status(get("/console/api/recording", "localhost"))).toBe(200);
    expect(await status(get("/console/../console/api/recording", "localhost"))).toBe(400);
  } finally {
    await stop();
  }
});
