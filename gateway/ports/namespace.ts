/** Names, as the doors ask for them: what is where, listings, moves and deletes. Types only; refusals are thrown. */
import type { DirectoryInfo, EntryInfo, FileInfo } from "../../actors/messages/commands.ts";
import type { WriteCondition } from "../../actors/messages/primitives.ts";
import type { ListAnswer } from "../../actors/messages/questions.ts";

export type { DirectoryInfo, EntryInfo, FileInfo, ListAnswer };

export interface ChangeOptions {
  condition?: WriteCondition;
  idempotencyKey?: string;
}

/** `eventual`: from any master, as old as it says, up to `raft.maxStaleMs`. */
export type Consistency = "strong" | "eventual";

export interface ListPage {
  prefix: string;
  delimiter: boolean;
  /** The last name of the page before; "": the first page. */
  after: string;
  /** The index of the page before: this one reflects that index or a later one. */
  minIndex?: number;
  limit: number;
  consistency?: Consistency;
}

/** Asked of the leader unless `eventual` is asked for. */
export interface Namespace {
  /** null: nothing there. */
  stat(path: string): Promise<EntryInfo | null>;
  /** The same, with the age of the answer: 0 where the leader gave it. */
  look(path: string, consistency: Consistency): Promise<{ entry: EntryInfo | null; ageMs: number }>;
  list(page: ListPage): Promise<ListAnswer>;
  rename(
    from: string,
    to: string,
    options?: ChangeOptions & { overwrite?: boolean },
  ): Promise<{ entry: EntryInfo; replaced: boolean }>;
  copy(
    from: string,
    to: string,
    options?: ChangeOptions & { overwrite?: boolean },
  ): Promise<{ entry: EntryInfo; replaced: boolean }>;
  delete(path: string, options?: ChangeOptions & { recursive?: boolean }): Promise<{ entry: EntryInfo }>;
  makeDirectory(path: string, options?: { idempotencyKey?: string }): Promise<{ created: boolean }>;
}
