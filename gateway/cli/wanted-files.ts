/** What `dfs get` is to fetch: the files behind the names that were given, and where each goes. */
import { mkdirSync, statSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { DfsError } from "../client/client.ts";
import { targetInside } from "./local-path.ts";
import { baseName, lookUp, parseRemotePath } from "./remote-path.ts";
import type { Session } from "./session.ts";

export interface WantedFile {
  path: string;
  sizeBytes: number;
  /** Where it goes; throws when the name is unsafe. */
  target: () => string;
}

export class WantedFiles {
  readonly files: WantedFile[] = [];
  /** Why the others cannot be fetched. */
  readonly missing: DfsError[] = [];
  readonly #session: Session;
  readonly #to: string;
  /** true: the local name is a directory that the files go into; false: it is the name of the one thing fetched. */
  readonly #isInto: boolean;

  private constructor(session: Session, to: string, isInto: boolean) {
    this.#session = session;
    this.#to = to;
    this.#isInto = isInto;
  }

  /** Looks up all sources, and makes the local directories for those that are directories. */
  static async find(session: Session, sources: readonly string[], to: string): Promise<WantedFiles> {
    const isDirectory = statSync(to, { throwIfNoEntry: false })?.isDirectory() === true;
    const found = new WantedFiles(session, to, sources.length > 1 || /(^|\/)\.{0,2}$/.test(to) || isDirectory);
    for (const source of sources) await found.#add(source);
    return found;
  }

  async #add(source: string): Promise<void> {
    const { dfs, signal } = this.#session;
    const { path, isDirectory } = parseRemotePath(source);
    const found = isDirectory ? ({ kind: "directory" } as const) : await lookUp(dfs, path, signal);
    if (found.kind === "nothing") this.missing.push(found.error);
    else if (found.kind === "directory") await this.#addDirectory(path);
    else {
      const target = this.#isInto ? () => targetInside(this.#to, baseName(path)) : () => named(this.#to);
      this.files.push({ path, sizeBytes: found.file.size, target });
    }
  }

  async #addDirectory(path: string): Promise<void> {
    const { dfs, signal } = this.#session;
    const root = this.#isInto && path !== "" ? join(this.#to, baseName(path)) : this.#to;
    const before = this.files.length;
    const prefix = path === "" ? "" : `${path}/`;
    let isThere = path === "";
    for await (const entry of dfs.list(prefix, { byDirectory: false, pageSize: 1000, signal })) {
      isThere = true;
      const name = entry.path.slice(prefix.length);
      if (name === "") continue;
      if (entry.kind === "directory") mkdirSync(targetInside(root, name.replace(/\/$/, "")), { recursive: true });
      else this.files.push({ path: entry.path, sizeBytes: entry.size ?? 0, target: () => targetInside(root, name) });
    }
    if (this.files.length === before) await this.#addEmpty(path, root, isThere);
  }

  async #addEmpty(path: string, root: string, isThere: boolean): Promise<void> {
    const { dfs, signal } = this.#session;
    const there = isThere ? ({ kind: "directory" } as const) : await lookUp(dfs, path, signal);
    if (there.kind === "nothing") this.missing.push(there.error);
    else if (there.kind === "file")
      this.missing.push(
        new DfsError("NOT_A_DIRECTORY", `${path} is a file.`, 0, `Leave out the slash: dfs get ${path}`),
      );
    else mkdirSync(root, { recursive: true });
  }
}

function named(target: string): string {
  mkdirSync(dirname(resolve(target)), { recursive: true });
  return target;
}
