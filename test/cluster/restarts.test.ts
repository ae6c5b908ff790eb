/** What the launcher says of a node that ended, and when it starts it again. */
import { afterEach, expect, test } from "bun:test";
import { writeFileSync } from "node:fs";
import { describeEnding, MOST_STARTS, planRestart } from "../../actors/launcher/restarts.ts";
import { ExitCode } from "../../actors/node/lifecycle.ts";
import { endCluster, launch, nodesRunning, type SmallCluster, smallCluster } from "../support/launcher.ts";

let cluster: SmallCluster | undefined;
afterEach(() => {
  endCluster(cluster);
  cluster = undefined;
});

const code = (exitCode: number) => ({ exitCode, signal: null });
const KILLED = { exitCode: 137, signal: "SIGKILL" };

test("every exit code of a node, and every signal, is told in words", () => {
  const told = Object.values(ExitCode).map((exitCode) => describeEnding(code(exitCode)));
  expect(new Set(told).size).toBe(Object.keys(ExitCode).length);
  expect(told.filter((words) => words.startsWith("ended with"))).toEqual([]);
  expect(describeEnding(code(ExitCode.starved))).toBe(
    "was ended by its watchdog because its event loop stood still (exit code 8)",
  );
  expect(describeEnding(code(99))).toBe("ended with exit code 99");
  expect(describeEnding(KILLED)).toStartWith("was killed by SIGKILL");
  expect(describeEnding({ exitCode: 139, signal: "SIGSEGV" })).toBe("was killed by SIGSEGV");
});

test("a node is started again after pauses that grow, a bounded number of times in a row", () => {
  const pauses: number[] = [];
  let shortRuns = 0;
  for (let plan = planRestart(KILLED, 500, 0); plan.kind === "restart"; plan = planRestart(KILLED, 500, shortRuns)) {
    pauses.push(plan.afterMs);
    shortRuns = plan.shortRuns;
  }
  expect(pauses).toEqual([1000, 2000, 4000, 8000, 16_000, 30_000]);
  expect(pauses.length).toBe(MOST_STARTS);
  expect(planRestart(KILLED, 500, shortRuns)).toEqual({ kind: "none", because: "crashLoop" });
  // A run that lasted begins the count anew.
  expect(planRestart(KILLED, 600_000, shortRuns)).toEqual({ kind: "restart", afterMs: 1000, shortRuns: 1 });
});

test("what another start would only repeat is not started again, nor is what was asked to stop", () => {
  const { badConfiguration, dataDirectoryRefused, programTooOld, stateDiverged } = ExitCode;
  for (const exitCode of [badConfiguration, dataDirectoryRefused, programTooOld, stateDiverged])
    expect([exitCode, planRestart(code(exitCode), 0, 0)]).toEqual([exitCode, { kind: "none", because: "notCured" }]);
  expect(planRestart(code(0), 0, 0)).toEqual({ kind: "none", because: "wanted" });
  for (const exitCode of [ExitCode.crashed, ExitCode.diskFailed, ExitCode.invariantBroken, ExitCode.starved])
    expect([exitCode, planRestart(code(exitCode), 0, 0).kind]).toEqual([exitCode, "restart"]);
});

test("with `restart` a killed worker runs again; one whose port was taken meanwhile is given up with the reason", async () => {
  cluster = smallCluster();
  const port = Number(new URL(cluster.config.workers[1].url).port);
  writeFileSync(cluster.configPath, JSON.stringify({ ...cluster.config, restart: true }));
  const launcher = launch(cluster);
  await launcher.until("Ctrl-C stops everything");
  const before = nodesRunning(cluster).get("worker-2") as number;
  process.kill(before, "SIGKILL");
  await launcher.until("worker-2 was started again.");
  expect(launcher.printed()).toContain("worker-2 was killed by SIGKILL");
  const again = nodesRunning(cluster).get("worker-2") as number;
  expect(again).not.toBe(before);

  process.kill(again, "SIGKILL");
  await launcher.until("worker-2 is started again in 2 s");
  const other = Bun.listen({ hostname: "127.0.0.1", port, socket: { data() {} } });
  await launcher.until("It is not started again, because a restart does not cure this.");
  expect(launcher.printed()).toContain("worker-2 was refused its port or its data directory (exit code 3)");
  other.stop();
  expect(nodesRunning(cluster).has("worker-2")).toBe(false);

  launcher.child.kill("SIGINT");
  expect(await launcher.exited).toBe(0);
});
