/** `dfs get`: files and directories out of the cluster, into local files or to standard output. */
import { renameSync, rmSync, statSync, writeSync } from "node:fs";
import { open } from "node:fs/promises";
import { basename, relative, resolve } from "node:path";
import { RunningCrc32 } from "../client/checked-bytes.ts";
import { DfsError, type StoredFile } from "../client/client.ts";
import { counted, printable } from "./output.ts";
import { shortName, startProgress } from "./progress.ts";
import { speed } from "./put.ts";
import { baseName, lookUp, parseRemotePath } from "./remote-path.ts";
import { forget, recall, remember } from "./resume-state.ts";
import { forEachItem, type Session } from "./session.ts";
import { type WantedFile, WantedFiles } from "./wanted-files.ts";

export interface GetCommandOptions {
  parallel: number;
  clobber: boolean;
  progress: boolean;
}

export async function get(
  session: Session,
  sources: string[],
  destination: string | undefined,
  options: GetCommandOptions,
): Promise<number> {
  if (destination === "-") return getToStandardOutput(session, sources, options);
  const { files, missing } = await WantedFiles.find(session, sources, destination ?? ".");
  for (const error of missing) session.output.error(error);
  const exitCode = await fetchAll(session, files, options);
  if (missing.length === 0) return exitCode;
  return files.length > 0 ? 1 : 3;
}

async function fetchAll(session: Session, files: WantedFile[], options: GetCommandOptions): Promise<number> {
  const { output } = session;
  const [only] = files.length === 1 ? files : [];
  const progress = startProgress({
    isShown: options.progress,
    label: only ? shortName(baseName(only.path)) : "get",
    files: files.length,
    totalBytes: files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
  });
  const startedMs = performance.now();
  const targets = new Set<string>();
  let doneBytes = 0;
  let doneFiles = 0;
  const exitCode = await forEachItem(
    session,
    files,
    options.parallel,
    ({ path }) => ({ path }),
    async ({ path, target }) => {
      const local = target();
      targets.add(resolve(local));
      const file = await fetchFile(session, path, local, partName(local, targets), options, (n) =>
        progress.at(path, n),
      );
      progress.fileDone(path, file.size);
      doneFiles++;
      doneBytes += file.size;
      const took = performance.now() - startedMs;
      const shown = resolve(local).startsWith(`${process.cwd()}/`) ? relative(process.cwd(), local) : local;
      output.done(
        { ...file, target: resolve(local) },
        () => `${printable(shown)}${only ? `: ${speed(file.size, took)}` : ""}`,
      );
    },
  );
  progress.stop();
  if (doneFiles > 1) output.note(`${counted(doneFiles, "file")}, ${speed(doneBytes, performance.now() - startedMs)}.`);
  return exitCode;
}

function partName(target: string, taken: Set<string>): string {
  let part = `${target}.part`;
  while (taken.has(resolve(part))) part += ".part";
  taken.add(resolve(part));
  return part;
}

/** Writes beside the target and renames when every byte is there and right; what an earlier run has kept is not read again. */
async function fetchFile(
  { dfs, signal }: Session,
  path: string,
  target: string,
  part: string,
  { clobber }: GetCommandOptions,
  onProgress: (bytes: number) => void,
): Promise<StoredFile> {
  const there = statSync(target, { throwIfNoEntry: false });
  if (there?.isDirectory())
    throw new DfsError("IS_A_DIRECTORY", `${target} is a local directory.`, 0, "Choose another name to write to.");
  if (there && !clobber)
    throw new DfsError("ALREADY_EXISTS", `${target} exists already.`, 0, "Leave out --no-clobber to replace it.");

  const key = { kind: "get", gateway: dfs.url, path, target: resolve(target) };
  const etag = recall<{ etag: string }>(key)?.etag;
  const kept = statSync(part, { throwIfNoEntry: false });
  const file = await dfs.head(path, { signal });
  const sum = new RunningCrc32();
  if (etag === file.etag && kept?.isFile() && kept.size <= file.size) await sum.seek(kept.size, Bun.file(part));
  else if (kept) rmSync(part);
  remember(key, { etag: file.etag });
  onProgress(sum.position);

  const isComplete = sum.position === file.size && file.size > 0;
  const handle = await open(part, "a");
  try {
    if (!isComplete) {
      const resume = sum.position > 0 ? { offset: sum.position, crc32: sum.crc32 } : undefined;
      const { body } = await dfs.get(path, { ifMatch: file.etag, resume, signal, onProgress });
      for await (const bytes of body) await handle.writeFile(bytes);
      await handle.sync();
    } else if (sum.crc32 !== Number.parseInt(file.crc32, 16)) {
      throw new DfsError("CHECKSUM_MISMATCH", `What was kept of ${path} is damaged.`);
    }
  } catch (error) {
    if (error instanceof DfsError && ["CHECKSUM_MISMATCH", "FILE_CHANGED"].includes(error.code)) {
      rmSync(part, { force: true });
      forget(key);
    }
    throw error;
  } finally {
    await handle.close();
  }
  renameSync(part, target);
  forget(key);
  return file;
}

async function getToStandardOutput(session: Session, sources: string[], options: GetCommandOptions): Promise<number> {
  const { dfs, signal } = session;
  return forEachItem(
    session,
    sources,
    1,
    (path) => ({ path }),
    async (source) => {
      const { path } = parseRemotePath(source);
      const found = await lookUp(dfs, path, signal);
      if (found.kind === "nothing") throw found.error;
      if (found.kind === "directory")
        throw new DfsError(
          "IS_A_DIRECTORY",
          `${path || "/"} is a directory.`,
          0,
          `Get it into a local one: dfs get ${path} ${basename(path) || "."}/`,
        );
      const progress = startProgress({
        isShown: options.progress && !process.stdout.isTTY,
        label: shortName(baseName(path)),
        files: 1,
        totalBytes: found.file.size,
      });
      try {
        const { body } = await dfs.get(path, { signal, onProgress: (bytes) => progress.at(path, bytes) });
        for await (const bytes of body) writeAll(bytes);
      } finally {
        progress.stop();
      }
    },
  );
}

/** A reader that closes the pipe (`| head`) has seen enough. */
function writeAll(bytes: Uint8Array): void {
  for (let written = 0; written < bytes.length; ) {
    try {
      written += writeSync(1, bytes, written);
    } catch (cause) {
      const { code } = cause as NodeJS.ErrnoException;
      if (code === "EPIPE") process.exit(0);
      if (code !== "EAGAIN") throw cause;
      Bun.sleepSync(1);
    }
  }
}
