/** `dfs put`: local files, directories or standard input into the cluster. */
import { statSync } from "node:fs";
import { basename, resolve } from "node:path";
import { DfsError, type StoredFile } from "../client/client.ts";
import { type LocalFile, type LocalTree, walk } from "./local-path.ts";
import { counted, formatBytes, formatDuration, printable } from "./output.ts";
import { shortName, startProgress } from "./progress.ts";
import { joinPath, lookUp, parseRemotePath } from "./remote-path.ts";
import { forget, recall, remember } from "./resume-state.ts";
import { forEachItem, type Session } from "./session.ts";

export interface PutCommandOptions {
  parallel: number;
  clobber: boolean;
  replication?: number;
  chunkSize?: number;
  type?: string;
  meta?: Record<string, string>;
  progress: boolean;
}

/** Files from this size on are sent so that an interruption costs nothing. */
const RESUMABLE_FROM_BYTES = 16 << 20;

interface Sending {
  local: LocalFile;
  path: string;
}

export async function put(
  session: Session,
  sources: string[],
  destination: string | undefined,
  options: PutCommandOptions,
): Promise<number> {
  const { dfs, output, signal } = session;
  const to = parseRemotePath(destination ?? "");
  if (sources.includes("-")) return putStandardInput(session, sources, to.path, to.isDirectory, options);

  const found = sources.map((source) => ({ source, stats: localStats(source) }));
  const isInto = sources.length > 1 || to.isDirectory || (await lookUp(dfs, to.path, signal)).kind === "directory";

  const sendings: Sending[] = [];
  const emptyDirectories: string[] = [];
  const skipped: LocalTree["skipped"] = [];
  for (const { source, stats } of found) {
    const name = basename(resolve(source));
    // `.` and `..` have no name of their own worth keeping: what is in them goes straight in.
    const isNameless = /(^|\/)\.{1,2}\/?$/.test(source);
    const path = isInto && !(stats.isDirectory() && isNameless) ? joinPath(to.path, name) : to.path;
    if (stats.isDirectory()) {
      const tree = walk(source);
      for (const local of tree.files) sendings.push({ local, path: joinPath(path, local.relative) });
      for (const directory of tree.emptyDirectories) emptyDirectories.push(joinPath(path, directory));
      if (tree.files.length === 0 && tree.emptyDirectories.length === 0 && path !== "") emptyDirectories.push(path);
      skipped.push(...tree.skipped);
    } else {
      sendings.push({
        local: { path: source, relative: name, sizeBytes: stats.size, modifiedMs: stats.mtimeMs },
        path,
      });
    }
  }
  for (const { path, reason } of skipped) output.note(`Left out: ${printable(path)} (${reason})`);
  for (const path of emptyDirectories) await dfs.mkdir(path, { signal });

  const totalBytes = sendings.reduce((sum, { local }) => sum + local.sizeBytes, 0);
  const [only] = sendings.length === 1 ? sendings : [];
  const progress = startProgress({
    isShown: options.progress,
    label: only ? shortName(only.local.relative) : "put",
    files: sendings.length,
    totalBytes,
  });
  const startedMs = performance.now();
  let doneFiles = 0;
  let doneBytes = 0;
  const exitCode = await forEachItem(
    session,
    sendings,
    options.parallel,
    ({ local }) => ({ source: local.path }),
    async ({ local, path }) => {
      const file = await send(session, local, path, options, (bytes) => progress.at(path, bytes));
      progress.fileDone(path, file.size);
      doneFiles++;
      doneBytes += file.size;
      output.done({ ...file, source: local.path }, () =>
        only ? `${printable(path)}: ${stored(file, performance.now() - startedMs)}` : `${printable(path)}`,
      );
    },
  );
  progress.stop();
  if (sendings.length === 0 && emptyDirectories.length === 0) output.note("Nothing to put: no files there.");
  if (doneFiles > 1) output.note(`${counted(doneFiles, "file")}, ${speed(doneBytes, performance.now() - startedMs)}.`);
  return exitCode;
}

function localStats(source: string) {
  const stats = statSync(source, { throwIfNoEntry: false });
  if (stats === undefined)
    throw new DfsError(
      "NO_SUCH_LOCAL_FILE",
      `There is no local file or directory ${JSON.stringify(source)}.`,
      0,
      `Check the name; you are in ${process.cwd()}.`,
    );
  if (!stats.isFile() && !stats.isDirectory())
    throw new DfsError(
      "INVALID_PARAMETER",
      `${JSON.stringify(source)} is neither a file nor a directory.`,
      0,
      `To send what comes out of it: cat ${source} | dfs put - NAME`,
    );
  return stats;
}

async function send(
  { dfs, signal }: Session,
  local: LocalFile,
  path: string,
  options: PutCommandOptions,
  onProgress: (bytes: number) => void,
): Promise<StoredFile> {
  const source = Bun.file(local.path);
  const put = {
    contentType: options.type ?? source.type,
    replication: options.replication,
    chunkSize: options.chunkSize,
    meta: options.meta,
    createOnly: !options.clobber,
    signal,
    onProgress,
  };
  let file: StoredFile;
  if (local.sizeBytes < RESUMABLE_FROM_BYTES) file = await dfs.put(path, await source.bytes(), put);
  else {
    const { sizeBytes: size, modifiedMs: modified } = local;
    const key = { kind: "put", gateway: dfs.url, path, source: resolve(local.path), size, modified };
    const uploadId = recall<{ uploadId: string }>(key)?.uploadId;
    file = await dfs.putResumable(path, source, {
      ...put,
      uploadId,
      onUpload: (uploadId) => remember(key, { uploadId }),
    });
    forget(key);
  }
  const now = statSync(local.path, { throwIfNoEntry: false });
  if (now?.size !== local.sizeBytes || now.mtimeMs !== local.modifiedMs)
    throw new DfsError(
      "FILE_CHANGED",
      `${local.path} was changed while it was sent; ${path} may hold a mixture.`,
      0,
      "Put it again when no program writes to it.",
    );
  return file;
}

async function putStandardInput(
  { dfs, output, signal }: Session,
  sources: string[],
  path: string,
  isDirectory: boolean,
  options: PutCommandOptions,
): Promise<number> {
  if (sources.length > 1 || isDirectory)
    throw new DfsError(
      "INVALID_PARAMETER",
      "Standard input goes into one file, and it has no name of its own.",
      0,
      "Name the file: … | dfs put - reports/today.csv",
    );
  const progress = startProgress({ isShown: options.progress, label: shortName(path), files: 1, totalBytes: null });
  const startedMs = performance.now();
  try {
    const file = await dfs.put(path, Bun.stdin.stream(), {
      contentType: options.type,
      replication: options.replication,
      chunkSize: options.chunkSize,
      meta: options.meta,
      createOnly: !options.clobber,
      signal,
      onProgress: (bytes) => progress.at(path, bytes),
    });
    progress.stop();
    output.done({ ...file, source: "-" }, () => `${printable(path)}: ${stored(file, performance.now() - startedMs)}`);
    return 0;
  } finally {
    progress.stop();
  }
}

export const speed = (bytes: number, ms: number): string =>
  `${formatBytes(bytes)} in ${ms < 10_000 ? `${(ms / 1000).toFixed(1)} s` : formatDuration(ms / 1000)}${
    bytes > 1 << 20 ? ` (${formatBytes((bytes / ms) * 1000)}/s)` : ""
  }`;

const stored = ({ size, chunks = 0, replication = 0 }: StoredFile, ms: number): string =>
  `${speed(size, ms)}${chunks > 0 ? `, ${counted(chunks, "chunk")} × ${counted(replication, "copy", "copies")}` : ""}`;
