/** The clock of the tests' patience: it goes slower when more wants to run than the machine has processors for. */
import { expect, test } from "bun:test";
import { availableParallelism } from "node:os";
import { stopwatch, until } from "./fair-time.ts";

test("fair time goes slower than the clock on the wall while more is busy than there are processors", async () => {
  const busy = Array.from({ length: 4 * availableParallelism() }, () =>
    Bun.spawn([process.execPath, "-e", "for (;;);"], { stdio: ["ignore", "ignore", "ignore"] }),
  );
  try {
    await until("they run", () =>
      Bun.file("/proc/loadavg")
        .text()
        .then((text) => Number(/ (\d+)\//.exec(text)?.[1]) >= busy.length),
    );
    const fair = stopwatch();
    const began = performance.now();
    await Bun.sleep(1000);
    expect(fair() / (performance.now() - began)).toBeLessThan(0.7);
  } finally {
    for (const process of busy) process.kill("SIGKILL");
  }
});

test("what does not come about is given up with what it was", async () => {
  const never = until("pigs fly", () => false, { patienceMs: 30, pollMs: 1, describe: async () => "they walk" });
  expect(never).rejects.toThrow("not within 30 ms: pigs fly.  they walk");
});
