/** The folder that is shown: its names, page by page, and what is found below it. */
import { batch, computed, effect, signal } from "@preact/signals";
import type { ListedEntry } from "../../../client/answers.ts";
import { askJson, sentenceOf } from "../ask.ts";
import { route } from "../route.ts";
import { isStale } from "../silence.ts";

interface Page {
  entries: ListedEntry[];
  cursor: string | null;
}

const PAGE_SIZE = 500;
/** A search looks at no more names than this, and says so. */
const MOST_LOOKED_AT = 100_000;

export const folder = computed(() => (route.value.view === "files" ? route.value.folder : ""));
export const entries = signal<ListedEntry[]>([]);
export const nextCursor = signal<string | null>(null);
export const isLoading = signal(true);
export const problem = signal<string | null>(null);

export const searchText = signal("");
export const search = signal<{ found: ListedEntry[]; lookedAt: number; isDone: boolean } | null>(null);

const query = (parameters: Record<string, string>): string => `/files?${new URLSearchParams(parameters)}`;

let loading = 0;

/** Reads the folder again; what is shown stays until the answer is there. */
export async function reload(): Promise<void> {
  const mine = ++loading;
  const prefix = folder.peek();
  isLoading.value = true;
  try {
    const wanted = Math.min(1000, Math.max(PAGE_SIZE, entries.peek().length));
    const page = await askJson<Page>(query({ prefix, delimiter: "/", limit: String(wanted) }));
    if (mine !== loading) return;
    batch(() => {
      entries.value = page.entries.filter(({ path }) => path !== prefix);
      nextCursor.value = page.cursor;
      problem.value = null;
    });
  } catch (error) {
    if (mine === loading) problem.value = sentenceOf(error);
  } finally {
    if (mine === loading) isLoading.value = false;
  }
}

export async function loadMore(): Promise<void> {
  const cursor = nextCursor.peek();
  if (cursor === null) return;
  try {
    const prefix = folder.peek();
    const page = await askJson<Page>(query({ prefix, delimiter: "/", limit: String(PAGE_SIZE), cursor }));
    if (prefix !== folder.peek()) return;
    entries.value = [...entries.peek(), ...page.entries];
    nextCursor.value = page.cursor;
  } catch (error) {
    problem.value = sentenceOf(error);
  }
}

let searching = 0;

/** Every name below the folder that holds the text; results come while it looks. */
export async function find(text: string): Promise<void> {
  const mine = ++searching;
  if (text === "") {
    search.value = null;
    return;
  }
  const needle = text.toLowerCase();
  const prefix = folder.peek();
  const found: ListedEntry[] = [];
  let lookedAt = 0;
  let cursor: string | null = null;
  try {
    do {
      const page: Page = await askJson<Page>(query({ prefix, limit: "1000", ...(cursor === null ? {} : { cursor }) }));
      if (mine !== searching) return;
      lookedAt += page.entries.length;
      found.push(...page.entries.filter(({ path }) => path.slice(prefix.length).toLowerCase().includes(needle)));
      cursor = page.cursor;
      search.value = { found: found.slice(0, 1000), lookedAt, isDone: cursor === null };
    } while (cursor !== null && lookedAt < MOST_LOOKED_AT && found.length < 1000);
    search.value = { found: found.slice(0, 1000), lookedAt, isDone: true };
  } catch (error) {
    if (mine === searching) problem.value = sentenceOf(error);
  }
}

/** Whether a file or folder is there, without asking for what may be missing. */
export async function exists(path: string, cancelled: AbortSignal): Promise<boolean> {
  const { entries: found } = await askJson<Page>(query({ prefix: path, limit: "1" }), { cancelled });
  return found.some((entry) => entry.path.replace(/\/$/, "") === path);
}

let shown: string | null = null;
effect(() => {
  const now = folder.value;
  if (route.value.view !== "files" || shown === now) return;
  shown = now;
  entries.value = [];
  nextCursor.value = null;
  searchText.value = "";
  search.value = null;
  void reload();
});

/** After a silence the list may be old. */
let wasStale = false;
effect(() => {
  if (wasStale && !isStale.value && route.peek().view === "files") void reload();
  wasStale = isStale.value;
});
