/**
 * Loaded into a node before its own script (`bun --preload`): SIGUSR2 begins to sample where its JavaScript is, and the next
 * SIGUSR2 writes what was found to `$DFS_BENCH_PROFILES/<id>.cpuprofile`, which Chrome's DevTools open.
 */
import { renameSync, writeFileSync } from "node:fs";
import { Session } from "node:inspector";
import { join } from "node:path";

const INTERVAL_MICROSECONDS = 500;

const folder = Bun.env.DFS_BENCH_PROFILES as string;
const id = process.argv[process.argv.indexOf("--id") + 1] as string;
const session = new Session();
session.connect();
session.post("Profiler.enable");
session.post("Profiler.setSamplingInterval", { interval: INTERVAL_MICROSECONDS });
let sampling = false;

process.on("SIGUSR2", () => {
  sampling = !sampling;
  if (sampling) {
    session.post("Profiler.start");
    return;
  }
  session.post("Profiler.stop", (error, { profile }) => {
    const path = join(folder, `${id}.cpuprofile`);
    writeFileSync(`${path}.part`, JSON.stringify(error ?? profile));
    renameSync(`${path}.part`, path);
  });
});
