/** The list by keyboard. */
import type { ListedEntry } from "../../../client/answers.ts";
import { folderHash } from "../route.ts";
import { download, move, newFolder, rename } from "./actions.ts";
import { folder } from "./listing.ts";
import { folderOf } from "./naming.ts";
import { closeDetails, mark, marked, markedEntries, removeAll, rows } from "./selection.ts";

const rowButtons = (): HTMLButtonElement[] => [...document.querySelectorAll<HTMLButtonElement>(".entries .entry-name")];
const focusRow = (n: number): void => rowButtons()[Math.min(n, rowButtons().length - 1)]?.focus();

/** What a key does. @param at the row that has the focus; -1: none has */
function actionsAt(at: number, rowCount: number, entry: ListedEntry | undefined): Record<string, () => void> {
  return {
    ArrowDown: () => focusRow(at + 1),
    ArrowUp: () => focusRow(Math.max(0, at - 1)),
    Home: () => focusRow(0),
    End: () => focusRow(rowCount - 1),
    Backspace: () => {
      location.hash = folderHash(folderOf(folder.peek()));
    },
    "/": () => document.getElementById("find")?.focus(),
    u: () => document.getElementById("choose-files")?.click(),
    n: () => void newFolder(),
    Escape: closeDetails,
    ...(entry && {
      F2: () => void rename(entry),
      m: () => void move(entry),
      Delete: () => void removeAll(marked.peek().size > 0 ? markedEntries.peek() : [entry]),
      " ": () => mark(entry.path, !marked.peek().has(entry.path)),
      d: () => void (entry.kind === "file" && download(entry)),
    }),
  };
}

/** Keys of the list: arrows move, Enter opens, F2 renames, m moves, Delete deletes, Backspace goes up, / searches, u uploads. */
export function onKey(event: KeyboardEvent): void {
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
  const action = actionsAt(at, links.length, entry)[event.key];
  if (!action || (event.key.startsWith("Arrow") && at < 0 && target !== document.body)) return;
  event.preventDefault();
  action();
}
