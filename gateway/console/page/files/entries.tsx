/** The list itself: a row for each file and folder. */
import type { ListedEntry } from "../../../client/answers.ts";
import { Icon, type IconName } from "../shell/icon.tsx";
import { isStale } from "../silence.ts";
import { bytesInWords, dateInWords } from "../words.ts";
import { download, move, rename } from "./actions.ts";
import { folder, isLoading, loadMore, nextCursor, problem, search } from "./listing.ts";
import { nameOf } from "./naming.ts";
import { looked, mark, marked, open, removeAll, rows } from "./selection.ts";

export function Entries() {
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
        {kind === "file" && <RowButton icon="download" label={`Download ${name}`} act={() => download(entry)} />}
        <RowButton icon="rename" label={`Rename ${name}`} isChange act={() => rename(entry)} />
        <RowButton icon="move" label={`Move ${name}`} isChange act={() => move(entry)} />
        <RowButton icon="trash" label={`Delete ${name}`} isChange act={() => removeAll([entry])} />
      </td>
    </tr>
  );
}

interface RowButtonProps {
  icon: IconName;
  label: string;
  /** true: disabled while the gateway does not answer. */
  isChange?: boolean;
  act: () => unknown;
}

function RowButton({ icon, label, isChange = false, act }: RowButtonProps) {
  return (
    <button
      type="button"
      class="icon-button"
      aria-label={label}
      disabled={isChange && isStale.value}
      onClick={() => void act()}
    >
      <Icon name={icon} />
    </button>
  );
}
