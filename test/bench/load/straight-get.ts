/** Load generator: gets files one after another over one connection, as a reader of one large file would. */
import { assertStatus, HttpConnection } from "./http-connection.ts";
import { runAsLoad } from "./load-process.ts";

export interface StraightGetTask {
  url: string;
  paths: string[];
}

await runAsLoad<StraightGetTask, { bytes: number }>(async ({ url, paths }) => {
  const connection = await HttpConnection.open(url);
  return async () => {
    let bytes = 0;
    for (const path of paths) {
      const answer = await connection.request("GET", path, { onBody: () => {} });
      bytes += assertStatus(answer, 200).lengthBytes;
    }
    return { bytes };
  };
});
