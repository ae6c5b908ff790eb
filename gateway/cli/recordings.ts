/** `dfs record`, `dfs replay`, `dfs machines`: what the console shows, as files. */
import { createServer } from "node:net";
import { Refusal } from "../../actors/messages/errors.ts";
import { DfsError } from "../client/client.ts";
import { toMachineConfig, toMermaid } from "../console/chart-export.ts";
import { drawnMachines } from "../console/layouts.ts";
import { RECORDING_LIMITS, streamed } from "../console/recording-reader.ts";
import { readHeader, serveReplay } from "../console/replay.ts";
import { ExitCode } from "./exit-code.ts";
import { formatBytes } from "./output.ts";
import type { Session } from "./session.ts";

const asDfsError = (error: unknown): unknown =>
  error instanceof Refusal ? new DfsError(error.code, error.message, error.status, "Record it again.") : error;

/** Saves the last minutes of the cluster as one file. */
export async function record(
  { output, signal }: Session,
  gateway: { url: string; token?: string },
  { minutes, file }: { minutes: number; file?: string },
): Promise<number> {
  let response: Response;
  try {
    response = await fetch(`${gateway.url}/console/api/recording?minutes=${minutes}`, {
      headers: gateway.token ? { authorization: `Bearer ${gateway.token}` } : {},
      signal,
    });
  } catch (cause) {
    throw new DfsError(
      "UNREACHABLE",
      `${gateway.url} cannot be reached: ${(cause as Error).message}`,
      0,
      "Is it running?",
    );
  }
  if (!response.ok) {
    const problem = (await response.json().catch(() => ({}))) as { code?: string; detail?: string; next?: string };
    throw new DfsError(
      problem.code ?? "INTERNAL",
      problem.detail ?? `The gateway answers ${response.status}`,
      response.status,
      problem.next ?? "",
    );
  }
  const bytes = await wholeFile(response);
  const { header, records } = await readHeader(bytes).catch((error) => Promise.reject(asDfsError(error)));
  const [, given] = /filename="([^"/]+)"/.exec(response.headers.get("content-disposition") ?? "") ?? [];
  const path = file ?? given ?? "dfs.recording.gz";
  await Bun.write(path, bytes);
  const seconds = Math.round((header.to - header.from) / 1000);
  output.result(
    { file: path, bytes: bytes.length, records, from: header.from, to: header.to },
    () => `${path}: ${records} records of ${seconds} s, ${formatBytes(bytes.length)}\n  dfs replay ${path}`,
  );
  return ExitCode.ok;
}

async function wholeFile(response: Response): Promise<Uint8Array<ArrayBuffer>> {
  const pieces: Uint8Array[] = [];
  let bytes = 0;
  for await (const piece of response.body ?? []) {
    pieces.push(piece);
    bytes += piece.length;
    if (bytes > RECORDING_LIMITS.packedBytes)
      throw new DfsError("UNEXPECTED_ANSWER", `The recording has more than ${formatBytes(bytes)}.`, 0, "Ask for less.");
  }
  return Buffer.concat(pieces);
}

/** Serves a recording to a browser until it is interrupted. */
export async function replay({ output, signal }: Session, path: string, port: number | null): Promise<number> {
  const file = Bun.file(path);
  if (!(await file.exists())) throw new DfsError("NO_SUCH_FILE", `There is no file ${path}`, 0, "Check the name.");
  const { header, records } = await readHeader(streamed(file.stream())).catch((error) => {
    throw asDfsError(error);
  });
  const { url, stop } = serveReplay(file, header, port ?? (await freePort()));
  output.result({ url, records }, () => `${url}\n${records} records. Ctrl-C ends it.`);
  await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
  await stop();
  return ExitCode.ok;
}

const freePort = (): Promise<number> =>
  new Promise((resolve, reject) => {
    const server = createServer().on("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as { port: number };
      server.close(() => resolve(port));
    });
  });

/** Prints state machines for documents and other tools. */
export function machines(
  { output }: Session,
  name: string | undefined,
  { mermaid = false }: { mermaid?: boolean },
): number {
  const drawn = drawnMachines();
  const names = [...drawn.keys()].sort();
  if (name !== undefined && !drawn.has(name))
    throw new DfsError("INVALID_PARAMETER", `There is no machine "${name}".`, 0, `There are ${names.join(", ")}.`);
  for (const one of name === undefined ? names : [name]) {
    const { chart } = drawn.get(one) as NonNullable<ReturnType<typeof drawn.get>>;
    const depth = (parent: string | null): number =>
      parent === null ? 0 : 1 + depth(chart.states.find(({ id }) => id === parent)?.parent ?? null);
    output.result(toMachineConfig(chart), () =>
      mermaid
        ? toMermaid(chart)
        : chart.states
            .map(
              ({ key, parent, description }) =>
                `${"  ".repeat(depth(parent))}${key}${description ? `: ${description}` : ""}`,
            )
            .join("\n"),
    );
  }
  return ExitCode.ok;
}
