/** Where a file is found under a gateway's address. */
import { urlOfFile } from "../../actors/rules/file-url.ts";
import { pathProblem } from "../../actors/rules/path.ts";
import { DfsError } from "./dfs-error.ts";

/** @throws DfsError INVALID_PATH: a URL would otherwise turn `a/../b` into another path in silence */
export function filesPath(path: string): string {
  const problem = pathProblem(path);
  if (problem) throw new DfsError("INVALID_PATH", `${problem}: ${JSON.stringify(path.slice(0, 200))}`, 400);
  return urlOfFile(path);
}
