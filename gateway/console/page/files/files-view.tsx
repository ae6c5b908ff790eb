/** Browse, find, put, get, rename, delete: everything a person does with files. */
import { computed, signal } from "@preact/signals";
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import type { ListedEntry } from "../../../client/answers.ts";
import { folderHash } from "../route.ts";
import { Icon } from "../shell/icon.tsx";
import { isStale, mayAct } from "../silence.ts";
import { bytesInWords, dateInWords } from "../words.ts";
import { download, move, newFolder, remove, rename } from "./actions.ts";
import { filesOfDrop, filesOfInput } from "./dropped-files.ts";
import { FileDetails } from "./file-details.tsx";
import {
  entries,
  find,
  folder,
  isLoading,
  loadMore,
  nextCursor,
  problem,
  reload,
  search,
  searchText,
} from "./listing.ts";
import { folderOf, nameOf } from "./naming.ts";
import { queue } from "./uploads.ts";

const marked = signal<ReadonlySet<string>>(new Set());
export const looked = signal<string | null>(null);
const isDragOver = signal(false);
const rows = computed<ListedEntry[]>(() => search.value?.found ?? entries.value);
const markedEntries = computed(() => rows.value.filter(({ path }) => marked.value.has(path)));

const mark = (path: string, on: boolean): void => {
  const next = new Set(marked.peek());
  if (on) next.add(path);
  else next.delete(path);
  marked.value = next;
};

const put = (into: string, found: { path: string; file: File }[]): void =>
  queue.add(found.map(({ path, file }) => ({ path: into + path, file })));

function open(entry: ListedEntry): void {
  if (entry.kind === "directory") location.hash = folderHash(entry.path);
  else looked.value = looked.peek() === entry.path ? null : entry.path;
}

async function removeAll(list: ListedEntry[]): Promise<void> {
  if (!(await remove(list))) return;
  marked.value = new Set();
  if (list.some(({ path }) => path === looked.peek())) looked.value = null;
}

/** Keys of the list: arrows move, Enter opens, F2 renames, m moves, Delete deletes, Backspace goes up, / searches, u uploads. */
function onKey(event: KeyboardEvent): void {
  const target = event.target as HTMLElement;
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (document.querySelector("dialog[open]")) return;
  if (target.closest("input[type=text], input[type=search]")) {
    if (event.key === "ArrowDown" && target.matches("#find")) focusRow(0);
    return;
  }
  const links = rowButtons();
  const at = links.indexOf(target as HTMLButtonElement);
  const entry = at < 0 ? undefined : rows.peek()[at];
  const act: Record<string, () => void> = {
    ArrowDown: () => focusRow(at + 1),
    ArrowUp: () => focusRow(Math.max(0, at - 1)),
    Home: () => focusRow(0),
    End: () => focusRow(links.length - 1),
    Backspace: () => {
      location.hash = folderHash(folderOf(folder.peek()));
    },
    "/": () => document.getElementById("find")?.focus(),
    u: () => document.getElementById("choose-files")?.click(),
    n: () => void newFolder(),
    Escape: () => {
      looked.value = null;
    },
    ...(entry && {
      F2: () => void rename(entry),
      m: () => void move(entry),
      Delete: () => void removeAll(marked.peek().size > 0 ? markedEntries.peek() : [entry]),
      " ": () => mark(entry.path, !marked.peek().has(entry.path)),
      d: () => void (entry.kind === "file" && download(entry)),
    }),
  };
  const action = act[event.key];
  if (!action || (event.key.startsWith("Arrow") && at < 0 && target !== document.body)) return;
  event.preventDefault();
  action();
}

const rowButtons = (): HTMLButtonElement[] => [...document.querySelectorAll<HTMLButtonElement>(".entries .entry-name")];
const focusRow = (n: number): void => rowButtons()[Math.min(n, rowButtons().length - 1)]?.focus();

export function FilesView() {
  const chooser = useRef<HTMLInputElement>(null);
  const folderChooser = useRef<HTMLInputElement>(null);
  // Keys and drops count from the moment the view is seen.
  useLayoutEffect(() => {
    let depth = 0;
    const hasFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes("Files") ?? false;
    const over = (event: DragEvent): void => {
      if (hasFiles(event)) event.preventDefault();
    };
    const enter = (event: DragEvent): void => {
      if (hasFiles(event)) isDragOver.value = ++depth > 0 && !isStale.peek();
    };
    const leave = (event: DragEvent): void => {
      if (hasFiles(event)) isDragOver.value = --depth > 0 && !isStale.peek();
    };
    const drop = async (event: DragEvent): Promise<void> => {
      if (!event.dataTransfer || !hasFiles(event)) return;
      event.preventDefault();
      depth = 0;
      isDragOver.value = false;
      if (!mayAct()) return;
      // Walking a folder takes its time, and meanwhile the person may have gone on to another one.
      const into = folder.peek();
      put(into, await filesOfDrop(event.dataTransfer));
    };
    const listeners = { dragover: over, dragenter: enter, dragleave: leave, drop, keydown: onKey } as const;
    for (const [type, listener] of Object.entries(listeners)) addEventListener(type, listener as EventListener);
    return () => {
      for (const [type, listener] of Object.entries(listeners)) removeEventListener(type, listener as EventListener);
    };
  }, []);
  useEffect(() => {
    const timer = setTimeout(() => void find(searchText.value), 150);
    return () => clearTimeout(timer);
  }, [searchText.value]);
  const chosen = (input: HTMLInputElement | null): void => {
    if (!input) return;
    put(folder.peek(), filesOfInput(input));
    input.value = "";
  };
  return (
    <div class={`files ${looked.value ? "with-details" : ""}`}>
      <section class="panel files-list" aria-label="Files">
        <div class="files-bar">
          <Breadcrumb />
          <label class="search">
            <Icon name="search" />
            <span class="visually-hidden">Find below this folder</span>
            <input
              id="find"
              type="search"
              placeholder="Find below this folder"
              autocomplete="off"
              value={searchText.value}
              onInput={(event) => {
                searchText.value = event.currentTarget.value;
              }}
            />
          </label>
          <div class="buttons">
            <button type="button" class="button" disabled={isStale.value} onClick={() => void newFolder()}>
              <Icon name="newFolder" /> New folder
            </button>
            <button
              type="button"
              class="button"
              disabled={isStale.value}
              onClick={() => folderChooser.current?.click()}
            >
              <Icon name="folder" /> Upload folder
            </button>
            <button
              type="button"
              class="button primary"
              id="choose-files"
              disabled={isStale.value}
              onClick={() => chooser.current?.click()}
            >
              <Icon name="upload" /> Upload
            </button>
          </div>
          <input
            ref={chooser}
            class="visually-hidden"
            type="file"
            multiple
            tabIndex={-1}
            aria-label="Files to upload"
            onChange={() => chosen(chooser.current)}
          />
          <input
            ref={folderChooser}
            class="visually-hidden"
            type="file"
            multiple
            tabIndex={-1}
            aria-label="Folder to upload"
            {...{ webkitdirectory: true }}
            onChange={() => chosen(folderChooser.current)}
          />
        </div>
        {markedEntries.value.length > 0 && (
          <div class="marked-bar">
            <span>{markedEntries.value.length} marked</span>
            <button
              type="button"
              class="button"
              disabled={isStale.value}
              onClick={() => void removeAll(markedEntries.value)}
            >
              <Icon name="trash" /> Delete
            </button>
            <button
              type="button"
              class="button"
              onClick={() => {
                marked.value = new Set();
              }}
            >
              Clear
            </button>
          </div>
        )}
        <SearchState />
        {problem.value && (
          <p class="inline-problem" role="alert">
            <Icon name="warn" /> {problem.value}
            <button type="button" class="button" onClick={() => void reload()}>
              Try again
            </button>
          </p>
        )}
        <Entries />
      </section>
      {looked.value && (
        <FileDetails
          key={looked.value}
          path={looked.value}
          onClose={() => {
            looked.value = null;
          }}
        />
      )}
      {isDragOver.value && (
        <div class="drop-target" aria-hidden="true">
          <div>
            <Icon name="upload" />
            <strong>Drop to store in {folder.value === "" ? "the top folder" : folder.value}</strong>
            <span>Files and whole folders</span>
          </div>
        </div>
      )}
    </div>
  );
}

function Breadcrumb() {
  const parts = folder.value.split("/").filter(Boolean);
  return (
    <nav class="breadcrumb" aria-label="Folder">
      <a href={folderHash("")} aria-current={parts.length === 0 ? "page" : undefined}>
        All files
      </a>
      {parts.map((part, n) => {
        const path = parts.slice(0, n + 1).join("/");
        return (
          <span key={path}>
            <span aria-hidden="true" class="separator">
              /
            </span>
            <a href={folderHash(path)} aria-current={n === parts.length - 1 ? "page" : undefined}>
              {part}
            </a>
          </span>
        );
      })}
    </nav>
  );
}

function SearchState() {
  const result = search.value;
  return (
    <p class="search-state" role="status">
      {result &&
        `${result.found.length === 0 ? "Nothing" : `${result.found.length}${result.found.length === 1000 ? " or more" : ""}`} found in ${result.lookedAt.toLocaleString("en")} names${result.isDone ? "" : ", still looking"}.`}
    </p>
  );
}

function Entries() {
  const list = rows.value;
  if (list.length === 0) {
    if (isLoading.value || search.value || problem.value) return null;
    return (
      <div class="empty">
        <Icon name="folder" />
        <p>
          <strong>{folder.value === "" ? "No files yet" : "This folder is empty"}</strong>
        </p>
        <p>Drop files or folders anywhere on the page, or press u.</p>
      </div>
    );
  }
  return (
    <div class="table-scroll">
      <table class="entries">
        <thead>
          <tr>
            <th class="mark-cell">
              <input
                type="checkbox"
                aria-label="Mark all"
                checked={marked.value.size > 0 && list.every(({ path }) => marked.value.has(path))}
                onChange={(event) => {
                  marked.value = new Set(event.currentTarget.checked ? list.map(({ path }) => path) : []);
                }}
              />
            </th>
            <th>Name</th>
            <th class="number">Size</th>
            <th class="wide-only">Modified</th>
            <th>
              <span class="visually-hidden">What to do</span>
            </th>
          </tr>
        </thead>
        <tbody>
          {list.map((entry) => (
            <Row key={entry.path} entry={entry} />
          ))}
        </tbody>
      </table>
      {nextCursor.value && !search.value && (
        <button type="button" class="button more" onClick={() => void loadMore()}>
          Show more
        </button>
      )}
    </div>
  );
}

function Row({ entry }: { entry: ListedEntry }) {
  const { path, kind, size, modified } = entry;
  const name = search.value ? path.slice(folder.value.length) : nameOf(path);
  return (
    <tr class={looked.value === path ? "current" : ""} data-path={path}>
      <td class="mark-cell">
        <input
          type="checkbox"
          aria-label={`Mark ${name}`}
          checked={marked.value.has(path)}
          onChange={(event) => mark(path, event.currentTarget.checked)}
        />
      </td>
      <td>
        <button
          type="button"
          class="entry-name"
          aria-expanded={kind === "file" ? looked.value === path : undefined}
          onClick={() => open(entry)}
        >
          <span class={`kind ${kind}`}>
            <Icon name={kind === "directory" ? "folder" : "file"} />
          </span>
          <span class="name">{name}</span>
          {kind === "directory" && <span class="visually-hidden">, folder</span>}
        </button>
      </td>
      <td class="number">{size === undefined ? "" : bytesInWords(size)}</td>
      <td class="wide-only quiet">{modified ? dateInWords(modified) : ""}</td>
      <td class="row-buttons">
        {kind === "file" && (
          <button
            type="button"
            class="icon-button"
            aria-label={`Download ${name}`}
            onClick={() => void download(entry)}
          >
            <Icon name="download" />
          </button>
        )}
        <button
          type="button"
          class="icon-button"
          aria-label={`Rename ${name}`}
          disabled={isStale.value}
          onClick={() => void rename(entry)}
        >
          <Icon name="rename" />
        </button>
        <button
          type="button"
          class="icon-button"
          aria-label={`Move ${name}`}
          disabled={isStale.value}
          onClick={() => void move(entry)}
        >
          <Icon name="move" />
        </button>
        <button
          type="button"
          class="icon-button"
          aria-label={`Delete ${name}`}
          disabled={isStale.value}
          onClick={() => void removeAll([entry])}
        >
          <Icon name="trash" />
        </button>
      </td>
    </tr>
  );
}
