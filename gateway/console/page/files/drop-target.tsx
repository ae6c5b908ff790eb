/** Files and folders that are dropped anywhere on the page. */
import { signal } from "@preact/signals";
import { Icon } from "../shell/icon.tsx";
import { isStale, mayAct } from "../silence.ts";
import { filesOfDrop } from "./dropped-files.ts";
import { folder } from "./listing.ts";
import { put } from "./selection.ts";

const isDragOver = signal(false);

const hasFiles = (event: DragEvent): boolean => event.dataTransfer?.types.includes("Files") ?? false;

/** @returns listeners for the whole window */
export function dropListeners() {
  let depth = 0;
  const moved =
    (by: number) =>
    (event: DragEvent): void => {
      if (!hasFiles(event)) return;
      depth += by;
      isDragOver.value = depth > 0 && !isStale.peek();
    };
  return {
    dragover: (event: DragEvent): void => {
      if (hasFiles(event)) event.preventDefault();
    },
    dragenter: moved(1),
    dragleave: moved(-1),
    drop: async (event: DragEvent): Promise<void> => {
      if (!event.dataTransfer || !hasFiles(event)) return;
      event.preventDefault();
      depth = 0;
      isDragOver.value = false;
      if (!mayAct()) return;
      // Walking a folder takes its time, and meanwhile the person may have gone on to another one.
      const into = folder.peek();
      put(into, await filesOfDrop(event.dataTransfer));
    },
  } as const;
}

export function DropTarget() {
  if (!isDragOver.value) return null;
  return (
    <div class="drop-target" aria-hidden="true">
      <div>
        <Icon name="upload" />
        <strong>Drop to store in {folder.value === "" ? "the top folder" : folder.value}</strong>
        <span>Files and whole folders</span>
      </div>
    </div>
  );
}
