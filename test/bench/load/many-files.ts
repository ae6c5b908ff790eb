/** Load generator: one request per small file, over a fixed number of keep-alive connections. */
import { assertStatus, HttpConnection } from "./http-connection.ts";
import { inParallel, type Latency, latencyOf, randomBytes, runAsLoad } from "./load-process.ts";
import { nameOf } from "./numbered-files.ts";

export interface ManyFilesTask {
  verb: "PUT" | "GET" | "HEAD" | "DELETE";
  url: string;
  directory: string;
  count: number;
  sizeBytes: number;
  concurrency: number;
}

export interface ManyFilesResult {
  latency: Latency;
}

await runAsLoad<ManyFilesTask, ManyFilesResult>(async (task) => {
  const { verb, url, directory, count, sizeBytes, concurrency } = task;
  const body = verb === "PUT" && sizeBytes > 0 ? randomBytes(sizeBytes) : undefined;
  const wanted = { PUT: [200, 201], GET: [200], HEAD: [200], DELETE: [204] }[verb];
  const connections = await Promise.all(Array.from({ length: concurrency }, () => HttpConnection.open(url)));
  return async () => {
    const latencies = await inParallel(count, concurrency, async (n, lane) => {
      const connection = connections[lane] as HttpConnection;
      const answer = await connection.request(verb, `/files/${directory}/${nameOf(n)}`, { body });
      assertStatus(answer, ...wanted);
      if (verb === "GET" && answer.lengthBytes !== sizeBytes)
        throw new Error(`${answer.lengthBytes} of ${sizeBytes} bytes came`);
    });
    return { latency: latencyOf(latencies) };
  };
});
