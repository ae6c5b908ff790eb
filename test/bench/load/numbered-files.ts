/** The files that load generators make: numbered, so that whoever looks for them knows their names. */
import type { CommandOf } from "../../../actors/messages/commands.ts";

/** In the order of their numbers. */
export const nameOf = (n: number): string => `file-${String(n).padStart(8, "0")}`;

/** No worker is asked for a file of 0 bytes. */
export const createEmpty = (path: string): CommandOf<"PUT_FILE"> => ({
  type: "PUT_FILE",
  path,
  chunks: [],
  sizeBytes: 0,
  crc32: 0,
  sha256: null,
  contentType: "application/octet-stream",
  userMetadata: {},
  replicationFactor: 3,
  minReplicas: 2,
  condition: {},
});
