/** A node whose event loop stands still ends, and says what ran; one that merely was not let run goes on. */
import { afterEach, expect, test } from "bun:test";
import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import { ExitCode } from "../../actors/node/lifecycle.ts";
import { CurrentWork } from "../../actors/node/watchdog/current-work.ts";
import { judgeStillness, type Look, observe, type Stillness } from "../../actors/rules/starvation.ts";

const NODE = resolve(import.meta.dir, "../../actors/node");
const LIMIT_MS = 1000;
const started: Bun.Subprocess[] = [];
afterEach(() => {
  for (const child of started.splice(0)) child.kill("SIGKILL");
});

function startProcess(command: string[]) {
  const child = Bun.spawn(command, { stdout: "pipe", stderr: "pipe" });
  started.push(child);
  return child;
}

/** A process with a watchdog that bites after a second; says "ready", then does what it is told to. */
function startGuarded(work: string, node = "node-1") {
  const program = `
    import { createLogger } from "${NODE}/log.ts";
    import { declareWork, longWork } from "${NODE}/watchdog/current-work.ts";
    import { startWatchdog } from "${NODE}/watchdog/watchdog.ts";
    startWatchdog(createLogger("${node}", "info"), { limitMs: ${LIMIT_MS} });
    const scrubbing = declareWork("scrub");
    const usedMs = () => Object.values(process.cpuUsage()).reduce((sum, us) => sum + us / 1000, 0);
    const spend = (ms) => { for (const until = usedMs() + ms; usedMs() < until; ) for (let n = 0; n < 1e6; n++); };
    await Bun.sleep(${LIMIT_MS / 2});
    console.log("ready");
    ${work}
  `;
  const child = startProcess([process.execPath, "-e", program]);
  return { child, output: linesOf(child.stdout) };
}

function linesOf(stream: ReadableStream<Uint8Array>) {
  const lines: string[] = [];
  let heard = Promise.withResolvers<void>();
  let isOver = false;
  const ended = (async () => {
    let rest = "";
    for await (const bytes of stream) {
      const parts = (rest + Buffer.from(bytes).toString()).split("\n");
      rest = parts.pop() as string;
      lines.push(...parts);
      heard.resolve();
      heard = Promise.withResolvers<void>();
    }
    isOver = true;
    heard.resolve();
  })();
  return {
    async until(line: string): Promise<void> {
      while (!lines.includes(line)) {
        if (isOver) throw new Error(`the process ended without saying "${line}": ${lines.join(" | ")}`);
        await heard.promise;
      }
    },
    async all(): Promise<string[]> {
      await ended;
      return lines;
    },
  };
}

async function endOf({ child, output }: ReturnType<typeof startGuarded>) {
  const [exitCode, lines] = await Promise.all([child.exited, output.all()]);
  return { exitCode, told: lines.filter((line) => line.startsWith("{")).map((line) => JSON.parse(line)) };
}

const STARVED = {
  exitCode: ExitCode.starved,
  told: [{ level: 60, node: "node-1", event: "event-loop-starved", work: "scrub", limitMs: LIMIT_MS }],
};

test("F1. a loop that never returns ends its process with code 8, and the log's last line names what ran", async () => {
  const end = await endOf(startGuarded("scrubbing.begins(); for (;;);"));
  expect(end).toMatchObject(STARVED);
  expect(end.told[0]).toMatchObject({ time: expect.stringMatching(/^\d{4}-.*Z$/), sinceTurn: { scrub: 1 } });
  expect(end.told[0].msg).toContain("scrub");
});

test("F1. microtasks for ever are found too, with how often what began and where from", async () => {
  const end = await endOf(startGuarded("for (;;) { scrubbing.begins(); await null; }"));
  expect(end).toMatchObject(STARVED);
  expect(end.told[0].sinceTurn.scrub).toBeGreaterThan(1000);
  expect(end.told[0].stack).toContain("at ");
});

test("a call that does not return is found although it uses no CPU", async () => {
  const end = await endOf(startGuarded("scrubbing.begins(); Bun.sleepSync(120_000);"));
  expect(end).toMatchObject(STARVED);
  expect(end.told[0].threadState).toBe("asleep");
});

test("work that declares itself long has a limit of its own, and the usual one holds again afterwards", async () => {
  const patient = `longWork("recover", ${20 * LIMIT_MS}, () => spend(${3 * LIMIT_MS})); console.log("recovered");`;
  const node = startGuarded(`${patient} await Bun.sleep(1); scrubbing.begins(); for (;;);`);
  await node.output.until("recovered");
  expect(await endOf(node)).toMatchObject(STARVED);
});

test("a process that was stopped for longer than the limit goes on when it is continued", async () => {
  const node = startGuarded("for (let n = 0; n < 60; n++) await Bun.sleep(50); process.exit(0);");
  await node.output.until("ready");
  node.child.kill("SIGSTOP");
  await Bun.sleep(2 * LIMIT_MS);
  node.child.kill("SIGCONT");
  expect(await endOf(node)).toEqual({ exitCode: 0, told: [] });
});

test("beside a dozen busy processes a healthy node goes on, and one that starves is still found", async () => {
  const crowd = Array.from({ length: 12 }, () => startProcess([process.execPath, "-e", "for (;;);"]));
  const healthy = startGuarded("for (let n = 0; n < 30; n++) { spend(100); await Bun.sleep(1); } process.exit(0);");
  const starving = startGuarded("for (;;) { scrubbing.begins(); await null; }");
  expect(await endOf(starving)).toMatchObject(STARVED);
  expect(await endOf(healthy)).toEqual({ exitCode: 0, told: [] });
  for (const child of crowd) child.kill("SIGKILL");
});

test("each entry script watches its own event loop, from before it opens its data", () => {
  for (const script of ["actors/master.ts", "actors/worker.ts", "gateway/gateway.ts"]) {
    const source = readFileSync(resolve(import.meta.dir, "../..", script), "utf8");
    const at = source.indexOf("startWatchdog(log)");
    expect([script, at > 0]).toEqual([script, true]);
    expect(at).toBeLessThan(source.search(/openRecords\(|loadSecret\(config/));
  }
});

const EVERY_MS = 1000;
const LIMIT = 5000;
/** Judges looks a second apart, each told as what differs from an idle second. */
const verdictAfter = (looks: Partial<Look & { passedMs: number }>[]): string => {
  let stillness: Stillness | null = observe(null, { atMs: 0, turns: 0, cpuMs: 0, state: "queued" }, EVERY_MS);
  let atMs = 0;
  let cpuMs = 0;
  for (const { passedMs = EVERY_MS, cpuMs: used = 0, turns = 0, state = "queued" } of looks) {
    atMs += passedMs;
    cpuMs += used;
    stillness = observe(stillness, { atMs, turns, cpuMs, state }, EVERY_MS);
  }
  return judgeStillness(stillness as Stillness, LIMIT);
};
const times = <T>(count: number, look: T): T[] => Array.from({ length: count }, () => look);

test("a loop is charged for CPU and for sleep in a call, not for waiting for a CPU or for a stop", () => {
  expect(verdictAfter(times(5, { cpuMs: 1000 }))).toBe("starved");
  expect(verdictAfter(times(5, { state: "asleep" }))).toBe("starved");
  expect(verdictAfter(times(600, { cpuMs: 0 }))).toBe("well");
  expect(verdictAfter(times(600, { state: "stopped" }))).toBe("well");
  // A seventh of a core: its five seconds come later.
  expect(verdictAfter(times(30, { cpuMs: 140 }))).toBe("well");
  expect(verdictAfter(times(36, { cpuMs: 140 }))).toBe("starved");
});

test("a turn, or a gap in the watchdog's own clock, begins the limit anew", () => {
  expect(verdictAfter([...times(4, { cpuMs: 1000 }), { turns: 1, cpuMs: 1000 }, { turns: 1, cpuMs: 1000 }])).toBe(
    "well",
  );
  const asleep = { state: "asleep" } as const;
  expect(verdictAfter([...times(4, asleep), { ...asleep, passedMs: 60_000 }, ...times(4, asleep)])).toBe("well");
  expect(verdictAfter([{ ...asleep, passedMs: 60_000 }, ...times(5, asleep)])).toBe("starved");
});

test("a disk that hangs is told after the limit, and ends the node after a minute", () => {
  const onDisk = { state: "onDisk" } as const;
  expect(verdictAfter(times(4, onDisk))).toBe("well");
  expect(verdictAfter(times(5, onDisk))).toBe("waits");
  expect(verdictAfter(times(60, onDisk))).toBe("starved");
});

test("work is known to another thread by its name, also when there are more names than room", () => {
  const work = new CurrentWork();
  const seenBy = new CurrentWork(work.shared);
  const before = seenBy.counts();
  for (let n = 0; n < 300; n++) work.declare(`message ${n}`).begins();
  work.declare("message 3").begins();
  expect(seenBy.ranSince(before)).toMatchObject({ latest: "message 3", times: { other: 173, "message 3": 2 } });
});
