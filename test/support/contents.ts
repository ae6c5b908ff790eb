/** What a cluster holds, looked at past the doors. */
import type { Services } from "../../gateway/ports/backend.ts";

/** Names of all files, in order. */
export async function pathsIn({ namespace }: Services): Promise<string[]> {
  const { entries } = await namespace.list({ prefix: "", delimiter: false, after: "", limit: 1000 });
  return entries.map(({ path }) => path);
}

/** null: there is no such file. */
export async function bytesIn({ namespace, transfers }: Services, path: string): Promise<Uint8Array | null> {
  if ((await namespace.stat(path))?.kind !== "file") return null;
  const { file, stream } = await transfers.openFile(path);
  return await new Response(stream(0, file.sizeBytes)).bytes();
}

/** Deletes every file and directory. */
export async function removeAll({ namespace }: Services): Promise<void> {
  const { entries } = await namespace.list({ prefix: "", delimiter: true, after: "", limit: 1000 });
  for (const { path } of entries) await namespace.delete(path.replace(/\/$/, ""), { recursive: true });
}
