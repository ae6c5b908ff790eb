/** `dfs rm`, `mv`, `cp` and `mkdir`: changes of names, each in one step. */
import { type DfsClient, DfsError } from "../client/client.ts";
import { printable } from "./output.ts";
import { baseName, joinPath, lookUp, notFound, parseRemotePath } from "./remote-path.ts";
import { forEachItem, type Session } from "./session.ts";

const about = (source: string) => ({ path: source });

export function remove(session: Session, paths: string[], options: { recursive: boolean; force: boolean }) {
  const { dfs, output, signal } = session;
  return forEachItem(session, paths, 1, about, async (text) => {
    const { path } = parseRemotePath(text);
    if (path === "")
      throw new DfsError("INVALID_PATH", "The root cannot be removed.", 0, "Remove what is in it, one by one.");
    try {
      await dfs.remove(path, { recursive: options.recursive, signal });
    } catch (error) {
      if (error instanceof DfsError && error.code === "NO_SUCH_FILE") {
        if (options.force) return;
        throw await notFound(dfs, path);
      }
      if (error instanceof DfsError && ["IS_A_DIRECTORY", "DIRECTORY_NOT_EMPTY"].includes(error.code))
        throw again(error, `${path} is a directory.`, `To remove it with all that is in it: dfs rm -r ${path}`);
      throw error;
    }
    output.done({ removed: path }, () => `Removed ${printable(path)}`);
  });
}

/** Moves or copies; into the destination if that is a directory, as `mv` and `cp` do. */
export async function transferNames(
  session: Session,
  verb: "mv" | "cp",
  sources: string[],
  destination: string,
  options: { force: boolean },
): Promise<number> {
  const { dfs, output, signal } = session;
  const to = parseRemotePath(destination);
  const isInto = sources.length > 1 || to.isDirectory || (await lookUp(dfs, to.path, signal)).kind === "directory";
  const call: DfsClient["rename"] = verb === "mv" ? dfs.rename : dfs.copy;
  return forEachItem(session, sources, 1, about, async (text) => {
    const { path: from } = parseRemotePath(text);
    if (from === "")
      throw new DfsError("INVALID_PATH", "The root cannot be moved or copied.", 0, `Name what is in it: dfs ls`);
    const target = isInto ? joinPath(to.path, baseName(from)) : to.path;
    if (target === from)
      throw new DfsError("ALREADY_EXISTS", `${from} is there already.`, 0, "Name another destination.");
    try {
      await call(from, target, { overwrite: options.force, signal });
    } catch (error) {
      if (error instanceof DfsError && error.code === "NO_SUCH_FILE") throw await notFound(dfs, from);
      if (error instanceof DfsError && error.code === "ALREADY_EXISTS")
        throw again(error, `${target} exists already.`, `To replace it: dfs ${verb} --force ${text} ${destination}`);
      throw error;
    }
    output.done(
      { from, to: target },
      () => `${verb === "mv" ? "Moved" : "Copied"} ${printable(from)} to ${printable(target)}`,
    );
  });
}

export const makeDirectories = (session: Session, paths: string[]) =>
  forEachItem(session, paths, 1, about, async (text) => {
    const { path } = parseRemotePath(text);
    if (path === "") return;
    await session.dfs.mkdir(path, { signal: session.signal });
    session.output.done({ made: path }, () => `Made ${printable(path)}/`);
  });

const again = (error: DfsError, message: string, next: string) =>
  new DfsError(error.code, message, error.status, next, error.details);
