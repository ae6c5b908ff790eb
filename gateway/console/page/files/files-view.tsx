/** Browse, find, put, get, rename, delete: everything a person does with files. */
import { useEffect, useLayoutEffect } from "preact/hooks";
import { Icon } from "../shell/icon.tsx";
import { isStale } from "../silence.ts";
import { DropTarget, dropListeners } from "./drop-target.tsx";
import { Entries } from "./entries.tsx";
import { FileDetails } from "./file-details.tsx";
import { FilesBar } from "./files-bar.tsx";
import { onKey } from "./keys.ts";
import { find, problem, reload, search, searchText } from "./listing.ts";
import { closeDetails, looked, markedEntries, removeAll, unmark } from "./selection.ts";

export function FilesView() {
  // Keys and drops count from the moment the view is seen.
  useLayoutEffect(() => {
    const listeners = { ...dropListeners(), keydown: onKey } as const;
    for (const [type, listener] of Object.entries(listeners)) addEventListener(type, listener as EventListener);
    return () => {
      for (const [type, listener] of Object.entries(listeners)) removeEventListener(type, listener as EventListener);
    };
  }, []);
  useEffect(() => {
    const timer = setTimeout(() => void find(searchText.value), 150);
    return () => clearTimeout(timer);
  }, [searchText.value]);
  return (
    <div class={`files ${looked.value ? "with-details" : ""}`}>
      <section class="panel files-list" aria-label="Files">
        <FilesBar />
        <MarkedBar />
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
      {looked.value && <FileDetails key={looked.value} path={looked.value} onClose={closeDetails} />}
      <DropTarget />
    </div>
  );
}

function MarkedBar() {
  const { length } = markedEntries.value;
  if (length === 0) return null;
  return (
    <div class="marked-bar">
      <span>{length} marked</span>
      <button type="button" class="button" disabled={isStale.value} onClick={() => void removeAll(markedEntries.value)}>
        <Icon name="trash" /> Delete
      </button>
      <button type="button" class="button" onClick={unmark}>
        Clear
      </button>
    </div>
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
