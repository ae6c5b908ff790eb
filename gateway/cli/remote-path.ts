/** Paths in the cluster, as people type them. */
import { type DfsClient, DfsError, type StoredFile } from "../client/client.ts";

export interface RemotePath {
  /** Without slashes around it; "" is the root. */
  path: string;
  /** A slash at the end (or the root): it must be a directory. */
  isDirectory: boolean;
}

/** Leading and doubled slashes are the same place to people: `/a//b/` is the directory `a/b`. */
export function parseRemotePath(text: string): RemotePath {
  const path = text
    .split("/")
    .filter((segment) => segment !== "" && segment !== ".")
    .join("/");
  return { path, isDirectory: path === "" || /(^|\/)\.?$/.test(text) };
}

export const baseName = (path: string): string => path.slice(path.lastIndexOf("/") + 1);
export const joinPath = (directory: string, name: string): string => (directory === "" ? name : `${directory}/${name}`);

export type Found = { kind: "file"; file: StoredFile } | { kind: "directory" } | { kind: "nothing"; error: DfsError };

/** What is at a path. */
export async function lookUp(dfs: DfsClient, path: string, signal?: AbortSignal): Promise<Found> {
  if (path === "") return { kind: "directory" };
  try {
    return { kind: "file", file: await dfs.head(path, { signal }) };
  } catch (error) {
    if (error instanceof DfsError && error.code === "IS_A_DIRECTORY") return { kind: "directory" };
    if (error instanceof DfsError && (error.code === "NO_SUCH_FILE" || error.code === "NOT_A_DIRECTORY"))
      return { kind: "nothing", error: await notFound(dfs, path) };
    throw error;
  }
}

/** Says that nothing is there, and what the person may have meant. */
export async function notFound(dfs: DfsClient, path: string): Promise<DfsError> {
  const slash = path.lastIndexOf("/");
  const parent = slash < 0 ? "" : path.slice(0, slash + 1);
  const near = await nearest(dfs, parent, baseName(path)).catch(() => null);
  const next = near
    ? `Did you mean ${near}?`
    : `See what is there with \`dfs ls ${parent || "/"}\`${(await Bun.file(path).exists()) ? `, or copy your local ${path} into the cluster with \`dfs put ${path}\`` : ""}.`;
  return new DfsError("NO_SUCH_FILE", `There is no "${path}" in the cluster.`, 404, next);
}

const LOOK_AT_MOST = 2000;

async function nearest(dfs: DfsClient, parent: string, name: string): Promise<string | null> {
  let best: { path: string; edits: number } | null = null;
  let seen = 0;
  for await (const { path } of dfs.list(parent)) {
    if (++seen > LOOK_AT_MOST) break;
    const other = baseName(path.replace(/\/$/, ""));
    const edits = editDistance(name.toLowerCase(), other.toLowerCase());
    if (edits <= Math.max(1, name.length / 4) && (best === null || edits < best.edits)) best = { path, edits };
  }
  return best?.path ?? null;
}

/** Insertions, deletions and replacements that make `b` of `a`. */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, n) => n);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++)
      next.push(
        Math.min(
          (row[j] as number) + 1,
          (next[j - 1] as number) + 1,
          (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1),
        ),
      );
    row = next;
  }
  return row[b.length] as number;
}
