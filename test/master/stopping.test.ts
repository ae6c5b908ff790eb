/** A master that stops in order: nothing of it goes on, or opens again, once its files are closed. */
import { afterEach, expect, test } from "bun:test";
import { rmSync } from "node:fs";
import { startMaster } from "../../actors/master/host.ts";
import { checkConfig, DEFAULT_CONFIG_PATH } from "../../actors/node/config.ts";
import { createLogger } from "../../actors/node/log.ts";
import { until } from "../support/fair-time.ts";
import { freePorts } from "../support/free-ports.ts";
import { scratchFolder } from "../support/scratch.ts";

const directory = scratchFolder("dfs-stopping-");
afterEach(() => rmSync(directory, { recursive: true, force: true }));

/** An error that no caller hears, as from a callback of a stopped master, fails the test that is running. */
const someTurns = async (): Promise<void> => {
  for (let turn = 0; turn < 20; turn++) await new Promise((resolve) => setImmediate(resolve));
};

test("a leader that takes a step in every turn stops, and opens no office upon what it closed", async () => {
  const [port] = freePorts(1);
  const url = `http://127.0.0.1:${port}`;
  const shipped = await Bun.file(DEFAULT_CONFIG_PATH).json();
  const master = await startMaster({
    config: checkConfig({ ...shipped, masters: [{ id: "master-1", url }] }),
    ...{ nodeId: "master-1", url, dataDirectory: directory, secret: "0".repeat(64) },
    log: createLogger("master-1", "silent"),
  });
  const { raft } = master.metadata;
  await until("it leads", () => raft.isReady);
  let isStopped = false;
  const step = (): void => {
    raft.send({ type: "client.read", id: 0 });
    if (!isStopped) setImmediate(step);
  };
  step();
  await master.stop();
  isStopped = true;
  await someTurns();
  expect(raft.isReady).toBe(true);
});
