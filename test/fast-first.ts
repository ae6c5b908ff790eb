/**
 * Runs every test with `bun test`, in two runs: first the files that start no process, several at once, so that a mistake in
 * a rule is told within a minute; then those that live through many simulated lives or start nodes, browsers and clients,
 * one after another, because they want the machine for themselves.
 *
 * Arguments go on to `bun test`; a path among them replaces the list: `bun run test test/rules -t placement`.
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";

const ROOT = new URL("..", import.meta.url).pathname;
/** Ends a test that hangs. No test relies on it: what is late on a busy machine is still right. (Bun's own limit is 5 s.) */
const HANGS_AFTER_MS = 15 * 60_000;
/** More than processors: many quick tests wait for a disk, or for a patience to end. */
const AT_ONCE = 6;
/** How long files take: of the quick ones the longest begin first. `bun run test --update-timings` measures anew. */
const DURATIONS = "test/durations.json";
/** What starts a process, or simulates whole lives; helpers that do are named by their files. */
const TAKES_LONG =
  /Bun\.spawn|support\/(command-line|launcher|real-cluster|node-processes|flush-trace)|^test\/(simulation|browser)\//;

const takesLong = (file: string): boolean =>
  TAKES_LONG.test(file) || TAKES_LONG.test(readFileSync(join(ROOT, file), "utf8"));

async function run(files: string[], flags: string[]): Promise<number> {
  const tests = Bun.spawn(
    [process.execPath, "test", `--timeout=${HANGS_AFTER_MS}`, `--timings=${DURATIONS}`, ...flags, ...files],
    {
      cwd: ROOT,
      stdio: ["inherit", "inherit", "inherit"],
    },
  );
  const passOn = (signal: NodeJS.Signals): boolean => tests.kill(signal) ?? true;
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, passOn);
  const exitCode = await tests.exited;
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.off(signal, passOn);
  if (tests.signalCode) process.exit(130);
  return exitCode;
}

const args = process.argv.slice(2);
if (args.some((arg) => !arg.startsWith("-") && (arg.startsWith("test/") || arg.startsWith("./"))))
  process.exit(await run([], args));

const files = [...new Bun.Glob("test/**/*.test.{ts,tsx}").scanSync({ cwd: ROOT })].map((file) => `./${file}`).sort();
const slow = new Set(files.filter((file) => takesLong(file.slice(2))));
const quick = await run(
  files.filter((file) => !slow.has(file)),
  [`--parallel=${AT_ONCE}`, ...args],
);
process.exit((await run([...slow], args)) || quick);
