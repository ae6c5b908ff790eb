/** What a person typed as a name or a folder, and what that makes of a path. Pure. */
import type { ListedEntry } from "../../../client/answers.ts";

export const nameOf = (path: string): string => path.replace(/\/$/, "").split("/").pop() ?? path;

/** `docs/a.txt` → `docs/`; `a.txt` → "" */
export const folderOf = (path: string): string => path.replace(/[^/]+\/?$/, "");

/** How much of a name is its stem: `notes.tar` of `notes.tar.gz`; a folder's name has no extension. */
export function stemLength({ path, kind }: Pick<ListedEntry, "path" | "kind">): number {
  const name = nameOf(path);
  const dot = kind === "file" ? name.lastIndexOf(".") : -1;
  return dot > 0 ? dot : name.length;
}

/** @returns why this is no name, in words; null: it is one */
export function nameProblem(name: string): string | null {
  if (name.trim() === "") return "A name has at least one character.";
  if (name.includes("/")) return "A name has no slash. To put it into another folder, use Move.";
  if (name === "." || name === "..") return `"${name}" means a folder itself, or the one above: it is no name.`;
  if (name.includes("\0")) return "A name has no NUL character.";
  return null;
}

/** `/` is the top folder; slashes at the ends do not count. */
export const folderTyped = (text: string): string => {
  const segments = text.trim().replace(/^\/+|\/+$/g, "");
  return segments === "" ? "" : `${segments}/`;
};

/** @returns why this is no folder, in words; null: it is one, there already or not */
export function folderProblem(text: string): string | null {
  const segments = folderTyped(text).split("/").slice(0, -1);
  if (segments.includes("")) return "A folder's path has one slash between two names.";
  return segments.map(nameProblem).find((problem) => problem !== null) ?? null;
}
