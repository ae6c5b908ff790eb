/** What is marked and what is looked at in the list, and what a person does to it. */
import { computed, signal } from "@preact/signals";
import type { ListedEntry } from "../../../client/answers.ts";
import { folderHash } from "../route.ts";
import { remove } from "./actions.ts";
import { entries, search } from "./listing.ts";
import { queue } from "./uploads.ts";

export const marked = signal<ReadonlySet<string>>(new Set());
export const looked = signal<string | null>(null);
export const rows = computed<ListedEntry[]>(() => search.value?.found ?? entries.value);
export const markedEntries = computed(() => rows.value.filter(({ path }) => marked.value.has(path)));

export const mark = (path: string, on: boolean): void => {
  const next = new Set(marked.peek());
  if (on) next.add(path);
  else next.delete(path);
  marked.value = next;
};

export const put = (into: string, found: { path: string; file: File }[]): void =>
  queue.add(found.map(({ path, file }) => ({ path: into + path, file })));

export function open(entry: ListedEntry): void {
  if (entry.kind === "directory") location.hash = folderHash(entry.path);
  else looked.value = looked.peek() === entry.path ? null : entry.path;
}

export async function removeAll(list: ListedEntry[]): Promise<void> {
  if (!(await remove(list))) return;
  marked.value = new Set();
  if (list.some(({ path }) => path === looked.peek())) looked.value = null;
}

export const unmark = (): void => {
  marked.value = new Set();
};

export const closeDetails = (): void => {
  looked.value = null;
};
