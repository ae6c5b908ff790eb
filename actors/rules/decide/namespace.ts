/** Names: files and directories, and what create, delete, rename and copy do to them. */
import type { CommandOf, DirectoryInfo, EntryInfo, FileInfo } from "../../messages/commands.ts";
import type { WriteCondition } from "../../messages/primitives.ts";
import { formatCrc32 } from "../crc32.ts";
import { keptHeadersProblem } from "../file-headers.ts";
import { pathProblem } from "../path.ts";
import { addStoredChunks, freeBuried, freeChunks, freeFiles } from "./chunks.ts";
import { BURIED_SINCE, HEADERS_CHECKED_SINCE, TINY_SINCE } from "./cluster-version.ts";
import { copyContent, isTiny, keepContent } from "./contents.ts";
import { accepted, type Deciding, type Decision, type Environment, RefusedCommand, read, readOne } from "./decision.ts";
import type { EntryRow, FileAttributes } from "./rows.ts";
import type { Write } from "./state.ts";

export const ROOT = 0;
/** A copy of a directory is one command; more entries than this are refused. */
const MAX_COPIED_ENTRIES = 1000;
const REAPED_AT_ONCE = 128;
const ONE_DIRECTORY = { files: 0, directories: 1, bytes: 0 };

export const isDirectoryKey = (key: string): boolean => key.endsWith("/");

export function fileInfo(path: string, row: EntryRow): FileInfo {
  return {
    kind: "file",
    path,
    sizeBytes: row.sizeBytes,
    etag: row.etag,
    crc32: row.crc32,
    chunkCount: row.chunkCount,
    replicationFactor: row.replicationFactor,
    createdAt: row.createdAt,
    modifiedAt: row.modifiedAt,
    contentType: row.contentType,
    sha256: row.sha256,
    userMetadata: row.userMetadata,
  };
}

export const directoryInfo = (path: string, row: EntryRow): DirectoryInfo => ({
  kind: "directory",
  path,
  createdAt: row.createdAt,
});

export const entryInfo = (path: string, row: EntryRow): EntryInfo =>
  isDirectoryKey(row.key) ? directoryInfo(path, row) : fileInfo(path, row);

function checked(path: string): string[] {
  const problem = pathProblem(path);
  if (problem) throw new RefusedCommand("INVALID_PATH", problem);
  return path.split("/");
}

/** A place in the tree, whether or not something is there. */
interface Place {
  path: string;
  /** null: the directory above does not exist yet. */
  parent: number | null;
  name: string;
  file?: EntryRow;
  directory?: EntryRow;
  /** Directories to make so that `parent` exists, outermost first. */
  missing: string[];
  /** The last directory that exists on the way. */
  deepest: number;
  /** Ids of the directories passed. */
  ancestors: number[];
}

export function* find(path: string): Deciding<Place> {
  const segments = checked(path);
  const name = segments.pop() as string;
  const ancestors = [ROOT];
  let deepest = ROOT;
  for (const [depth, segment] of segments.entries()) {
    const row = yield* readOne("entry", { parent: deepest, key: `${segment}/` });
    if (!row) {
      if (yield* readOne("entry", { parent: deepest, key: segment }))
        throw new RefusedCommand("NOT_A_DIRECTORY", `${segments.slice(0, depth + 1).join("/")} is a file`);
      return { path, parent: null, name, missing: segments.slice(depth), deepest, ancestors };
    }
    deepest = row.id;
    ancestors.push(deepest);
  }
  const file = yield* readOne("entry", { parent: deepest, key: name });
  const directory = file ? undefined : yield* readOne("entry", { parent: deepest, key: `${name}/` });
  return { path, parent: deepest, name, file, directory, missing: [], deepest, ancestors };
}

export const existing = (place: Place): EntryRow | undefined => place.file ?? place.directory;

/** Hands out node ids to one decision. */
export interface NodeIds {
  take(): number;
  writes(): Write[];
}

export function* nodeIds(): Deciding<NodeIds> {
  const totals = yield* readOne("totals", {});
  let next = totals?.nextNodeId ?? 1;
  let taken = 0;
  return {
    take: () => {
      taken++;
      return next++;
    },
    writes: () => (taken > 0 ? [["takeNodeIds", { count: taken }]] : []),
  };
}

/** Makes the directories above a place. */
function makeParents(place: Place, ids: NodeIds, env: Environment): { parent: number; writes: Write[] } {
  let parent = place.deepest;
  const writes: Write[] = [];
  for (const segment of place.missing) {
    const id = ids.take();
    writes.push(directoryEntry(parent, segment, id, env));
    parent = id;
  }
  if (place.missing.length > 0) writes.push(["addTotals", { files: 0, directories: place.missing.length, bytes: 0 }]);
  return { parent, writes };
}

const directoryEntry = (parent: number, name: string, id: number, env: Environment): Write => [
  "putEntry",
  {
    ...{ parent, key: `${name}/`, id },
    ...{ sizeBytes: 0, crc32: 0, etag: "", chunkCount: 0, replicationFactor: 0 },
    ...{ contentType: "", sha256: null, userMetadata: {} },
    ...{ createdAt: env.wallTime, modifiedAt: env.wallTime },
  },
];

const fileEntry = (parent: number, key: string, id: number, file: FileInfo): Write => [
  "putEntry",
  { parent, key, id, ...file },
];

/** Etags name a version: no two versions of any file share one, whatever their content. */
const etagOf = (crc32: number, env: Environment, ordinal = 0): string =>
  `${formatCrc32(crc32)}-${env.index.toString(36)}${ordinal > 0 ? `.${ordinal}` : ""}`;

export function checkCondition(condition: WriteCondition, row: EntryRow | undefined, path: string): void {
  if (condition.ifNoneMatchAny && row)
    throw new RefusedCommand("PRECONDITION_FAILED", `${path} exists already`, { etag: row.etag });
  if (condition.ifMatch) {
    const matches = row && (condition.ifMatch.includes("*") || condition.ifMatch.includes(row.etag));
    if (!matches)
      throw new RefusedCommand(
        "PRECONDITION_FAILED",
        row ? `${path} is another version: "${row.etag}"` : `${path} does not exist`,
        row ? { etag: row.etag } : {},
      );
  }
}

interface NewFile extends FileAttributes {
  fileId: number;
  sizeBytes: number;
  crc32: number;
  chunkCount: number;
  replicationFactor: number;
}

/** Puts a finished file under its name, and frees what was there. */
export function* linkFile(
  place: Place,
  file: NewFile,
  condition: WriteCondition,
  ids: NodeIds,
  env: Environment,
): Deciding<{ file: FileInfo; created: boolean; writes: Write[] }> {
  checkCondition(condition, existing(place), place.path);
  if (place.directory) throw new RefusedCommand("IS_A_DIRECTORY", `${place.path} is a directory`);
  const old = place.file;
  const parents = makeParents(place, ids, env);
  const info: FileInfo = {
    kind: "file",
    path: place.path,
    sizeBytes: file.sizeBytes,
    etag: etagOf(file.crc32, env),
    crc32: file.crc32,
    chunkCount: file.chunkCount,
    replicationFactor: file.replicationFactor,
    createdAt: old?.createdAt ?? env.wallTime,
    modifiedAt: env.wallTime,
    contentType: file.contentType,
    sha256: file.sha256,
    userMetadata: file.userMetadata,
  };
  const freed = old ? yield* freeFiles([old], env) : [];
  const writes: Write[] = [
    ...parents.writes,
    ...freed,
    fileEntry(parents.parent, place.name, file.fileId, info),
    ["addTotals", { files: 1, directories: 0, bytes: file.sizeBytes }],
  ];
  return { file: info, created: !old, writes };
}

/** What a client says of a file is answered in headers, for as long as the file is there. */
export function checkHeaders({ contentType, userMetadata }: FileAttributes, env: Environment): void {
  const problem = env.version < HEADERS_CHECKED_SINCE ? null : keptHeadersProblem(contentType, userMetadata);
  if (problem) throw new RefusedCommand("INVALID_HEADER", problem);
}

export function* putFile(command: CommandOf<"PUT_FILE">, env: Environment): Deciding<Decision> {
  checkHeaders(command, env);
  const place = yield* find(command.path);
  const ids = yield* nodeIds();
  const fileId = ids.take();
  const linked = yield* linkFile(
    place,
    { ...command, fileId, chunkCount: command.chunks.length },
    command.condition,
    ids,
    env,
  );
  const { content } = command;
  if (content && env.version >= TINY_SINCE) {
    const kept = yield* keepContent(fileId, content, command);
    return accepted({ file: linked.file, created: linked.created }, [...linked.writes, ...kept, ...ids.writes()]);
  }
  const stored = yield* addStoredChunks(fileId, command.chunks, { offset: 0, index: 0 }, command, env);
  if (stored.endOffset !== command.sizeBytes)
    throw new RefusedCommand(
      "INVALID_BODY",
      `The chunks hold ${stored.endOffset} bytes, the file ${command.sizeBytes}`,
    );
  return accepted({ file: linked.file, created: linked.created }, [
    ...linked.writes,
    ...stored.writes,
    ...ids.writes(),
  ]);
}

export function* makeDirectory(command: CommandOf<"MAKE_DIRECTORY">, env: Environment): Deciding<Decision> {
  const place = yield* find(command.path);
  if (place.file) throw new RefusedCommand("ALREADY_EXISTS", `${command.path} is a file`);
  if (place.directory) return accepted({ created: false }, []);
  const ids = yield* nodeIds();
  const { parent, writes } = makeParents(place, ids, env);
  writes.push(directoryEntry(parent, place.name, ids.take(), env), ["addTotals", ONE_DIRECTORY], ...ids.writes());
  return accepted({ created: true }, writes);
}

export function* deletePath(command: CommandOf<"DELETE_PATH">, env: Environment): Deciding<Decision> {
  const place = yield* find(command.path);
  const row = existing(place);
  if (command.condition.ifMatch) checkCondition(command.condition, row, command.path);
  if (!row) throw new RefusedCommand("NO_SUCH_FILE", `${command.path} does not exist`);
  const entry = entryInfo(command.path, row);
  if (!isDirectoryKey(row.key)) {
    const freed = yield* freeFiles([row], env);
    return accepted({ entry }, [["dropEntry", row], ...freed]);
  }
  const writes: Write[] = [
    ["dropEntry", row],
    ["addTotals", { files: 0, directories: -1, bytes: 0 }],
  ];
  if (yield* readOne("anyChild", { parent: row.id })) {
    if (!command.recursive) throw new RefusedCommand("DIRECTORY_NOT_EMPTY", `${command.path} is not empty`);
    writes.push(["bury", { id: row.id, kind: "directory" }]);
  }
  return accepted({ entry }, writes);
}

/** Where a rename or copy goes: nothing there, or a file that may be overwritten. */
function* destination(
  command: CommandOf<"RENAME_PATH"> | CommandOf<"COPY_PATH">,
  source: EntryRow,
  env: Environment,
): Deciding<{ place: Place; writes: Write[]; replaced: boolean }> {
  const place = yield* find(command.to);
  const there = existing(place);
  if (!there) return { place, writes: [], replaced: false };
  if (!command.overwrite) throw new RefusedCommand("ALREADY_EXISTS", `${command.to} exists already`);
  if (isDirectoryKey(source.key) || isDirectoryKey(there.key))
    throw new RefusedCommand(
      isDirectoryKey(there.key) ? "IS_A_DIRECTORY" : "NOT_A_DIRECTORY",
      `${command.to} exists already, and only a file may replace a file`,
    );
  return { place, writes: yield* freeFiles([there], env), replaced: true };
}

function* sourceOf({
  from,
  condition,
}: CommandOf<"RENAME_PATH"> | CommandOf<"COPY_PATH">): Deciding<{ place: Place; row: EntryRow }> {
  const place = yield* find(from);
  const row = existing(place);
  if (!row) throw new RefusedCommand("NO_SUCH_FILE", `${from} does not exist`);
  if (condition.ifMatch) checkCondition(condition, row, from);
  return { place, row };
}

export function* renamePath(command: CommandOf<"RENAME_PATH">, env: Environment): Deciding<Decision> {
  const { row } = yield* sourceOf(command);
  const toItself = accepted({ entry: entryInfo(command.to, row), replaced: false }, []);
  if (command.from === command.to) return toItself;
  const to = yield* destination(command, row, env);
  const isDirectory = isDirectoryKey(row.key);
  if (isDirectory && to.place.ancestors.includes(row.id))
    throw new RefusedCommand("RENAME_INTO_ITSELF", `${command.to} lies below ${command.from}`);
  const ids = yield* nodeIds();
  const { parent, writes } = makeParents(to.place, ids, env);
  const key = isDirectory ? `${to.place.name}/` : to.place.name;
  if (to.replaced) writes.push(["dropEntry", { parent, key }]);
  writes.push(...to.writes, ["moveEntry", { parent, key, fromParent: row.parent, fromKey: row.key }], ...ids.writes());
  return accepted({ entry: entryInfo(command.to, row), replaced: to.replaced }, writes);
}

export function* copyPath(command: CommandOf<"COPY_PATH">, env: Environment): Deciding<Decision> {
  const { row } = yield* sourceOf(command);
  if (command.from === command.to) throw new RefusedCommand("ALREADY_EXISTS", `${command.to} is the source itself`);
  const to = yield* destination(command, row, env);
  if (isDirectoryKey(row.key) && to.place.ancestors.includes(row.id))
    throw new RefusedCommand("RENAME_INTO_ITSELF", `${command.to} lies below ${command.from}`);
  const ids = yield* nodeIds();
  const { parent, writes } = makeParents(to.place, ids, env);
  writes.push(...to.writes);
  const budget = { left: MAX_COPIED_ENTRIES };
  const entry = yield* copyEntry(row, parent, to.place.name, command.to, ids, budget, writes, env);
  return accepted({ entry, replaced: to.replaced }, [...writes, ...ids.writes()]);
}

function* copyEntry(
  row: EntryRow,
  parent: number,
  name: string,
  path: string,
  ids: NodeIds,
  budget: { left: number },
  writes: Write[],
  env: Environment,
): Deciding<EntryInfo> {
  if (--budget.left < 0)
    throw new RefusedCommand("TOO_MANY_ENTRIES", `A directory copy takes at most ${MAX_COPIED_ENTRIES} entries`);
  const id = ids.take();
  if (!isDirectoryKey(row.key)) {
    const info: FileInfo = {
      ...fileInfo(path, row),
      etag: etagOf(row.crc32, env, MAX_COPIED_ENTRIES - budget.left - 1),
      createdAt: env.wallTime,
      modifiedAt: env.wallTime,
    };
    writes.push(fileEntry(parent, name, id, info));
    if (isTiny(row)) writes.push(...copyContent(row, id));
    else writes.push(["copyFileChunks", { fromFileId: row.id, toFileId: id }], ["addRefs", { fileId: row.id }]);
    writes.push(["addTotals", { files: 1, directories: 0, bytes: row.sizeBytes }]);
    return info;
  }
  writes.push(directoryEntry(parent, name, id, env), ["addTotals", ONE_DIRECTORY]);
  for (const child of yield* read("children", { parent: row.id, limit: budget.left + 1 })) {
    const childName = child.key.replace(/\/$/, "");
    yield* copyEntry(child, id, childName, `${path}/${childName}`, ids, budget, writes, env);
  }
  return { kind: "directory", path, createdAt: env.wallTime };
}

/** Frees a slice of what was deleted: the children of a buried directory, or chunks of a buried file. */
export function* reapDeleted(env: Environment): Deciding<Decision> {
  const dead = yield* readOne("graveyard", {});
  if (!dead) return accepted({ more: false }, []);
  if (dead.kind === "file" && env.version >= BURIED_SINCE) return accepted({ more: true }, yield* freeBuried(env));
  if (dead.kind === "file") {
    const chunks = yield* read("fileChunks", { fileId: dead.id, limit: REAPED_AT_ONCE });
    return accepted({ more: true }, chunks.length === 0 ? [["unbury", dead]] : freeChunks(chunks, env));
  }
  const children = yield* read("children", { parent: dead.id, limit: REAPED_AT_ONCE });
  if (children.length === 0) return accepted({ more: true }, [["unbury", dead]]);
  const writes: Write[] = children.map((child) => ["dropEntry", child]);
  const directories = children.filter((child) => isDirectoryKey(child.key));
  for (const { id } of directories) writes.push(["bury", { id, kind: "directory" }]);
  writes.push(["addTotals", { files: 0, directories: -directories.length, bytes: 0 }]);
  writes.push(
    ...(yield* freeFiles(
      children.filter((child) => !isDirectoryKey(child.key)),
      env,
    )),
  );
  return accepted({ more: true }, writes);
}
