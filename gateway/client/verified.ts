/** When a copy was last known to be right, in words: for the command line and the console alike. */
import type { ExplainedChunk } from "./answers.ts";

export function verifiedInWords(
  { verifiedAt, sealedAt = null }: Pick<ExplainedChunk["replicas"][number], "verifiedAt" | "sealedAt">,
  dateInWords: (iso: string) => string,
): string {
  if (verifiedAt !== null) return `read back ${dateInWords(verifiedAt)}`;
  return sealedAt === null ? "read back: unknown" : `written ${dateInWords(sealedAt)}, not read back since`;
}
