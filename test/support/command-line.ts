/** The command line as a person starts it: a process of its own. */
import { join, resolve } from "node:path";
import { outputOf } from "./child-output.ts";

const DFS = resolve(import.meta.dir, "../../gateway/cli/dfs.ts");

/** Where the person sits. */
export interface Terminal {
  /** The gateway's. */
  url: string;
  /** The folder that paths start from. */
  files: string;
  /** The command line keeps its notes below it. */
  folder: string;
}

export interface Typed {
  env?: Record<string, string>;
  /** What comes on standard input. */
  input?: string;
}

export const startDfs = ({ url, files, folder }: Terminal, args: string[], { env, input = "" }: Typed = {}) =>
  Bun.spawn([process.execPath, DFS, ...args], {
    cwd: files,
    env: { ...Bun.env, ...env, DFS_URL: url, XDG_STATE_HOME: join(folder, "state") },
    stdin: new Blob([input]),
    stdout: "pipe",
    stderr: "pipe",
  });

/** Until the command ends. */
export const runDfs = (terminal: Terminal, ...args: string[]) => outputOf(startDfs(terminal, args));
