/**
 * Runs every test with `bun test`, those that start processes last, so that a mistake in a rule is told within seconds.
 * Arguments go on to `bun test`; a path among them replaces the list: `bun run test test/rules -t placement`.
 */
const SLOW_FOLDERS = ["simulation", "cluster", "readme", "end-to-end", "browser"];

const slowness = (file: string): number => SLOW_FOLDERS.indexOf(file.split("/")[1] as string);

const args = process.argv.slice(2);
const root = new URL("..", import.meta.url).pathname;
const files = [...new Bun.Glob("test/**/*.test.{ts,tsx}").scanSync({ cwd: root })].sort(
  (a, b) => slowness(a) - slowness(b) || (a < b ? -1 : 1),
);
const named = args.some((arg) => !arg.startsWith("-") && (arg.startsWith("test/") || arg.startsWith("./")));
const tests = Bun.spawn(
  [process.execPath, "test", "--timeout=60000", ...(named ? [] : files.map((file) => `./${file}`)), ...args],
  {
    cwd: root,
    stdio: ["inherit", "inherit", "inherit"],
  },
);
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => tests.kill(signal));
process.exit(await tests.exited);
