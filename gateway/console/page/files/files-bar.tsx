/** Above the list: the way to this folder, the search, and what makes new files and folders. */
import { useRef } from "preact/hooks";
import { folderHash } from "../route.ts";
import { Icon } from "../shell/icon.tsx";
import { isStale } from "../silence.ts";
import { newFolder } from "./actions.ts";
import { filesOfInput } from "./dropped-files.ts";
import { folder, searchText } from "./listing.ts";
import { put } from "./selection.ts";

export function FilesBar() {
  return (
    <div class="files-bar">
      <Breadcrumb />
      <SearchField />
      <NewButtons />
    </div>
  );
}

function SearchField() {
  return (
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
  );
}

function chosen(input: HTMLInputElement): void {
  put(folder.peek(), filesOfInput(input));
  input.value = "";
}

const CHOOSER = { class: "visually-hidden", type: "file", multiple: true, tabIndex: -1 } as const;

function NewButtons() {
  const files = useRef<HTMLInputElement>(null);
  const folders = useRef<HTMLInputElement>(null);
  return (
    <>
      <div class="buttons">
        <button type="button" class="button" disabled={isStale.value} onClick={() => void newFolder()}>
          <Icon name="newFolder" /> New folder
        </button>
        <button type="button" class="button" disabled={isStale.value} onClick={() => folders.current?.click()}>
          <Icon name="folder" /> Upload folder
        </button>
        <button
          type="button"
          class="button primary"
          id="choose-files"
          disabled={isStale.value}
          onClick={() => files.current?.click()}
        >
          <Icon name="upload" /> Upload
        </button>
      </div>
      <input {...CHOOSER} ref={files} aria-label="Files to upload" onChange={(event) => chosen(event.currentTarget)} />
      <input
        {...CHOOSER}
        ref={folders}
        aria-label="Folder to upload"
        {...{ webkitdirectory: true }}
        onChange={(event) => chosen(event.currentTarget)}
      />
    </>
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
