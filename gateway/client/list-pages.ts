/** Listings, page by page. */
import type { ListedEntry } from "./answers.ts";
import type { CallOptions } from "./call-options.ts";
import type { Transport } from "./transport.ts";

export interface ListOptions extends CallOptions {
  /**
   * true: a directory is one entry, whose path ends in a slash, and what is in it is left out. false: every file below the
   * prefix, however deep.
   *
   * @default true
   */
  byDirectory?: boolean;
  /** Entries that one request asks for, 1 to 1000. @default 100, the gateway's own */
  pageSize?: number;
}

export async function* listPages(
  transport: Transport,
  prefix: string,
  { byDirectory = true, pageSize, ...call }: ListOptions,
) {
  let cursor: string | null = null;
  do {
    const query = new URLSearchParams({ prefix });
    if (byDirectory) query.set("delimiter", "/");
    if (pageSize !== undefined) query.set("limit", String(pageSize));
    if (cursor !== null) query.set("cursor", cursor);
    const page = (await transport.json(`/files?${query}`, { what: `Listing ${prefix || "/"}`, ...call })) as {
      entries: ListedEntry[];
      cursor: string | null;
    };
    yield* page.entries;
    cursor = page.cursor;
  } while (cursor !== null);
}
