/**
 * Files, one operation after the other: what a client must be told if nobody else is there. A version is known by its
 * content, so each put of a history writes something of its own.
 */
import type { Model } from "./history.ts";
import { entries, get, type PersistentMap, remove, set } from "./persistent-map.ts";

export type FileOp =
  | { kind: "put"; path: string; content: string; ifAbsent?: boolean; ifMatch?: string }
  | { kind: "get"; path: string }
  | { kind: "delete"; path: string; ifMatch?: string }
  | { kind: "rename" | "copy"; path: string; to: string; overwrite?: boolean; ifMatch?: string }
  | { kind: "list"; prefix: string };

/** What a client can be told. Words, so that they are compared and printed as they are. */
export const told = {
  created: "created",
  replaced: "replaced",
  deleted: "deleted",
  /** There is no such file. */
  absent: "absent",
  /** A condition on the version that is there did not hold. */
  refused: "refused",
  /** Something is there that may not be overwritten. */
  exists: "exists",
  content: (content: string): string => `=${content}`,
  /** @param files path and content, in the order of paths */
  listing: (files: Iterable<readonly [string, string]>): string =>
    `[${Array.from(files, ([path, content]) => `${path}=${content}`).join(" ")}]`,
} as const;

const CHANGED = new Set<string>([told.created, told.replaced, told.deleted]);

const put = (files: PersistentMap, path: string, content: string) => ({
  state: set(files, path, content),
  outcome: get(files, path) === undefined ? told.created : told.replaced,
});

function step(files: PersistentMap, op: FileOp): { state: PersistentMap; outcome: string } {
  const stays = (outcome: string) => ({ state: files, outcome });
  if (op.kind === "list") return stays(told.listing(entries(files, op.prefix)));
  const there = get(files, op.path);
  switch (op.kind) {
    case "put":
      if (op.ifAbsent && there !== undefined) return stays(told.refused);
      if (op.ifMatch !== undefined && there !== op.ifMatch) return stays(told.refused);
      return put(files, op.path, op.content);
    case "get":
      return stays(there === undefined ? told.absent : told.content(there));
    case "delete":
      if (op.ifMatch !== undefined && there !== op.ifMatch) return stays(told.refused);
      return there === undefined ? stays(told.absent) : { state: remove(files, op.path), outcome: told.deleted };
    default: {
      if (there === undefined) return stays(told.absent);
      if (op.ifMatch !== undefined && there !== op.ifMatch) return stays(told.refused);
      if (op.path === op.to) return stays(op.kind === "rename" ? told.created : told.exists);
      if (!op.overwrite && get(files, op.to) !== undefined) return stays(told.exists);
      return put(op.kind === "rename" ? remove(files, op.path) : files, op.to, there);
    }
  }
}

function show(op: FileOp): string {
  const ifMatch = "ifMatch" in op && op.ifMatch !== undefined ? ` if it is ${op.ifMatch}` : "";
  switch (op.kind) {
    case "list":
      return `list ${op.prefix}`;
    case "rename":
    case "copy":
      return `${op.kind} ${op.path} to ${op.to}${op.overwrite ? ", over what is there" : ""}${ifMatch}`;
    case "put":
      return `put ${op.path}=${op.content}${op.ifAbsent ? " if absent" : ""}${ifMatch}`;
    default:
      return `${op.kind} ${op.path}${ifMatch}`;
  }
}

export const fileModel: Model<PersistentMap, FileOp> = {
  initial: null,
  step,
  changes: (op, outcome) => op.kind !== "get" && op.kind !== "list" && (outcome === null || CHANGED.has(outcome)),
  keyOf: (files) => told.listing(entries(files)),
  touches(op) {
    if (op.kind === "list") return { names: [], prefix: op.prefix };
    return { names: op.kind === "rename" || op.kind === "copy" ? [op.path, op.to] : [op.path] };
  },
  show,
};
