/** The bytes of tiny files: they travel in the command and lie in the metadata itself, so such a file has no chunks. */
import type { CommandOf } from "../../messages/commands.ts";
import { formatCrc32 } from "../crc32.ts";
import { type Deciding, RefusedCommand, readOne } from "./decision.ts";
import type { EntryRow } from "./rows.ts";
import type { Write } from "./state.ts";

export const isTiny = ({ sizeBytes, chunkCount }: Pick<EntryRow, "sizeBytes" | "chunkCount">): boolean =>
  chunkCount === 0 && sizeBytes > 0;

/** Refuses bytes that are not those of the file, and a file for which there is no room here. */
export function* keepContent(fileId: number, content: Uint8Array, command: CommandOf<"PUT_FILE">): Deciding<Write[]> {
  const { sizeBytes, crc32, chunks, replicationFactor, room } = command;
  const actual = Bun.hash.crc32(content);
  if (chunks.length > 0 || content.length !== sizeBytes || actual !== crc32)
    throw new RefusedCommand(
      "INVALID_BODY",
      `The command holds ${content.length} bytes of CRC-32 ${formatCrc32(actual)}, the file ${sizeBytes} of ${formatCrc32(crc32)}`,
    );
  const { masters = 0, totalBytes = 0 } = room ?? {};
  if (masters < replicationFactor)
    throw notTaken(`${replicationFactor} copies are wanted, and ${masters} masters keep the metadata`);
  const { tinyBytes = 0 } = (yield* readOne("totals", {})) ?? {};
  if (tinyBytes + sizeBytes > totalBytes)
    throw notTaken(`${tinyBytes} of ${totalBytes} bytes of tiny files are there already`);
  return [
    ["putContent", { fileId, bytes: content }],
    ["addTinyBytes", { bytes: sizeBytes }],
  ];
}

const notTaken = (why: string): RefusedCommand =>
  new RefusedCommand("CONTENT_NOT_TAKEN", `The metadata does not take the file's bytes: ${why}`);

/** Of files that have just lost their names. */
export function dropContents(files: readonly EntryRow[]): Write[] {
  const tiny = files.filter(isTiny);
  if (tiny.length === 0) return [];
  const bytes = tiny.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
  return [...tiny.map(({ id }): Write => ["dropContent", { fileId: id }]), ["addTinyBytes", { bytes: -bytes }]];
}

/** Each tiny file has its bytes for itself. */
export const copyContent = ({ id, sizeBytes }: EntryRow, toFileId: number): Write[] => [
  ["copyContent", { fromFileId: id, toFileId }],
  ["addTinyBytes", { bytes: sizeBytes }],
];
