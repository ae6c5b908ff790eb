/** What processes ask the kernel to flush, as strace sees it. Only on Linux, and where one process may look at another. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** A file or folder whose flush has ended, and so is on the disk. Times: ms since 1970. */
export interface Flush {
  id: string;
  path: string;
  beganAt: number;
  endedAt: number;
}

export const canTrace: boolean =
  Bun.which("strace") !== null &&
  Bun.spawnSync(["sh", "-c", "sleep 1 & exec strace -qq -e trace=none -p $!"], { stderr: "ignore" }).success;

/** A process id, the time, `fsync(9</its/path>) = 0`, and how long it took, s. */
const WHOLE = /^(\d+) +(\d+\.\d+) f(?:data)?sync\(\d+<(.+)>\) += 0 <(\d+\.\d+)>$/;
/** The same in two lines, when another thread did something meanwhile. */
const BEGIN = /^(\d+) +(\d+\.\d+) f(?:data)?sync\(\d+<(.+)> <unfinished \.\.\.>$/;
const END = /^(\d+) +(\d+\.\d+) <\.\.\. f(?:data)?sync resumed>\) += 0/;

function readTrace(id: string, text: string): Flush[] {
  const flushes: Flush[] = [];
  const begun = new Map<string, { path: string; beganAt: number }>();
  for (const line of text.split("\n")) {
    const [, thread = "", at = "", path = "", lasted = ""] =
      WHOLE.exec(line) ?? BEGIN.exec(line) ?? END.exec(line) ?? [];
    const beganAt = Number(at) * 1000;
    if (lasted !== "") flushes.push({ id, path, beganAt, endedAt: beganAt + Number(lasted) * 1000 });
    else if (path !== "") begun.set(thread, { path, beganAt });
    else {
      const before = begun.get(thread);
      if (before) flushes.push({ id, ...before, endedAt: beganAt });
      begun.delete(thread);
    }
  }
  return flushes;
}

/** Watches processes until `stop`, which tells all that they flushed, in the order in which the flushes ended. */
export async function traceFlushes(processes: { id: string; pid: number }[]): Promise<{ stop(): Promise<Flush[]> }> {
  const folder = mkdtempSync(join(tmpdir(), "dfs-trace-"));
  const traces = processes.map(({ id, pid }) => {
    const file = join(folder, id);
    const command = ["strace", "-f", "-ttt", "-T", "-y", "-e", "trace=fsync,fdatasync", "-o", file, "-p", String(pid)];
    return { id, file, strace: Bun.spawn(command, { stderr: "pipe" }) };
  });
  await Promise.all(
    traces.map(async ({ id, strace }) => {
      for await (const said of strace.stderr.pipeThrough(new TextDecoderStream()))
        if (said.includes("attached")) return;
      throw new Error(`strace could not be attached to ${id}`);
    }),
  );
  return {
    async stop() {
      for (const { strace } of traces) strace.kill("SIGINT");
      await Promise.all(traces.map(({ strace }) => strace.exited));
      const flushes = traces.flatMap(({ id, file }) => readTrace(id, readFileSync(file, "utf8")));
      rmSync(folder, { recursive: true });
      return flushes.sort((a, b) => a.endedAt - b.endedAt);
    },
  };
}
