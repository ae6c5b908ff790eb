/** What was dropped or chosen, as files with their paths: folders are walked through. */
export interface FoundFile {
  /** relative to where it was dropped, e.g. `photos/2025/a.jpg` */
  path: string;
  file: File;
}

const fileOf = (entry: FileSystemFileEntry): Promise<File> =>
  new Promise((resolve, reject) => entry.file(resolve, reject));

async function* childrenOf(directory: FileSystemDirectoryEntry): AsyncGenerator<FileSystemEntry> {
  const reader = directory.createReader();
  for (;;) {
    const some = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (some.length === 0) return;
    yield* some;
  }
}

async function walk(entry: FileSystemEntry, above: string, found: FoundFile[]): Promise<void> {
  const path = `${above}${entry.name}`;
  if (entry.isFile) found.push({ path, file: await fileOf(entry as FileSystemFileEntry) });
  else for await (const child of childrenOf(entry as FileSystemDirectoryEntry)) await walk(child, `${path}/`, found);
}

/** To be called in the drop event itself: the browser forgets the items afterwards. */
export async function filesOfDrop(transfer: DataTransfer): Promise<FoundFile[]> {
  const entries = [...transfer.items].map((item) => (item.kind === "file" ? item.webkitGetAsEntry() : null));
  const plain = [...transfer.files];
  const found: FoundFile[] = [];
  const walked = entries.filter((entry) => entry !== null);
  for (const entry of walked) await walk(entry, "", found);
  return walked.length > 0 ? found : plain.map((file) => ({ path: file.name, file }));
}

export const filesOfInput = (input: HTMLInputElement): FoundFile[] =>
  [...(input.files ?? [])].map((file) => ({ path: file.webkitRelativePath || file.name, file }));
