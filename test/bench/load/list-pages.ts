/** Load generator: walks a directory page by page, from the first name to the last, again and again. */
import { assertStatus, HttpConnection } from "./http-connection.ts";
import { type Latency, latencyOf, runAsLoad } from "./load-process.ts";

export interface ListPagesTask {
  url: string;
  directory: string;
  pageSize: number;
  pages: number;
}

export interface ListPagesResult {
  pages: number;
  names: number;
  latency: Latency;
}

interface Page {
  entries: unknown[];
  cursor: string | null;
}

await runAsLoad<ListPagesTask, ListPagesResult>(async ({ url, directory, pageSize, pages }) => {
  const connection = await HttpConnection.open(url);
  return async () => {
    const latencies = new Float64Array(pages);
    let cursor: string | null = null;
    let names = 0;
    for (let page = 0; page < pages; page++) {
      const query = new URLSearchParams({ prefix: `${directory}/`, delimiter: "/", limit: String(pageSize) });
      if (cursor) query.set("cursor", cursor);
      const began = performance.now();
      const answer = assertStatus(await connection.request("GET", `/files?${query}`), 200);
      latencies[page] = performance.now() - began;
      const listed = JSON.parse(Buffer.from(answer.body).toString()) as Page;
      names += listed.entries.length;
      cursor = listed.cursor;
    }
    return { pages, names, latency: latencyOf(latencies) };
  };
});
