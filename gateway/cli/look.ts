/** `dfs ls`, `stat` and `explain`: what is there, and where. */
import { CONTENT_HEADER_FIELDS } from "../../actors/rules/file-headers.ts";
import { DfsError, type Explanation, type ListedEntry } from "../client/client.ts";
import { verifiedInWords } from "../client/verified.ts";
import { counted, formatBytes, printable, table } from "./output.ts";
import { lookUp, parseRemotePath } from "./remote-path.ts";
import type { Session } from "./session.ts";

export interface ListCommandOptions {
  long: boolean;
  recursive: boolean;
  bytes: boolean;
}

const SIZE_WIDTH = 11;

const localTime = (iso?: string): string =>
  iso ? new Date(iso).toLocaleString("sv-SE", { dateStyle: "short", timeStyle: "short" }) : " ".repeat(16);

export async function list(session: Session, paths: string[], options: ListCommandOptions): Promise<number> {
  const { dfs, output, signal } = session;
  const errors: DfsError[] = [];
  for (const text of paths) {
    const { path, isDirectory } = parseRemotePath(text);
    const prefix = path === "" ? "" : `${path}/`;
    if (paths.length > 1 && !output.json) output.result(null, () => `${text === paths[0] ? "" : "\n"}${text}:`);
    const show = (entry: ListedEntry, name: string): void => output.result(entry, () => line(entry, name, options));
    let isEmpty = true;
    const request = { byDirectory: !options.recursive, pageSize: 1000, signal };
    for await (const entry of dfs.list(prefix, request)) {
      isEmpty = false;
      if (entry.path !== prefix) show(entry, options.recursive ? entry.path : entry.path.slice(prefix.length));
    }
    if (!isEmpty || path === "") {
      if (isEmpty) output.note("Nothing is stored yet. To put a file: dfs put FILE");
      continue;
    }
    const found = await lookUp(dfs, path, signal);
    if (found.kind === "nothing") errors.push(found.error);
    else if (found.kind === "file" && !isDirectory) show({ ...found.file, kind: "file" }, path);
    else if (found.kind === "file")
      errors.push(new DfsError("NOT_A_DIRECTORY", `${path} is a file.`, 0, `Leave out the slash: dfs ls ${path}`));
  }
  for (const error of errors) output.error(error);
  if (errors.length === 0) return 0;
  return errors.length < paths.length ? 1 : errors.every(({ code }) => code === "NO_SUCH_FILE") ? 3 : 5;
}

function line(entry: ListedEntry, name: string, { long, bytes }: ListCommandOptions): string {
  if (!long) return printable(name);
  const size = entry.kind === "directory" ? "-" : bytes ? String(entry.size ?? 0) : formatBytes(entry.size ?? 0);
  return `${size.padStart(bytes ? SIZE_WIDTH + 4 : SIZE_WIDTH)}  ${localTime(entry.modified)}  ${printable(name)}`;
}

export async function stat({ dfs, output, signal }: Session, text: string): Promise<number> {
  const { path } = parseRemotePath(text);
  const found = await lookUp(dfs, path, signal);
  if (found.kind === "nothing") throw found.error;
  if (found.kind === "directory") {
    output.result({ path: `${path}/`, kind: "directory" }, () => `${printable(path)}/ is a directory`);
    return 0;
  }
  const { file } = found;
  output.result({ kind: "file", ...file }, () =>
    [
      printable(path),
      `  size      ${file.size.toLocaleString("en")} bytes (${formatBytes(file.size)})`,
      `  modified  ${file.modified}`,
      `  type      ${printable(file.contentType)}`,
      ...CONTENT_HEADER_FIELDS.flatMap(([field, name]) =>
        file[field] === undefined ? [] : `  ${name}: ${printable(file[field])}`,
      ),
      `  etag      ${file.etag}`,
      `  crc32     ${file.crc32}`,
      ...Object.entries(file.meta).map(([name, value]) => `  ${printable(name)}: ${printable(value)}`),
    ].join("\n"),
  );
  return 0;
}

export async function explain({ dfs, output, signal }: Session, text: string): Promise<number> {
  const { path } = parseRemotePath(text);
  const found = await lookUp(dfs, path, signal);
  if (found.kind === "nothing") throw found.error;
  if (found.kind === "directory")
    throw new DfsError("IS_A_DIRECTORY", `${path || "/"} is a directory.`, 0, "Name a file in it.");
  const explanation = await dfs.explain(path, { signal });
  const { chunks, size, replication, masters } = explanation;
  const good = (n: number): number => chunks[n]?.replicas.filter(({ state }) => state === "good").length ?? 0;
  const short = chunks.filter((_, n) => good(n) < replication).length;
  output.result(explanation, () =>
    [
      masters
        ? `${printable(path)}: ${formatBytes(size)} in the metadata, on ${masters.join(", ")}`
        : `${printable(path)}: ${formatBytes(size)} in ${counted(chunks.length, "chunk")}, ${
            short === 0
              ? `each with ${counted(replication, "good copy", "good copies")}`
              : `${short} of them with fewer than ${counted(replication, "good copy", "good copies")}`
          }`,
      ...(chunks.length === 0
        ? []
        : [
            "",
            table(
              ["chunk", "id", "size", "copies", "where"],
              chunks.map((chunk, n) => [
                String(chunk.index),
                chunk.id,
                formatBytes(chunk.length),
                `${good(n)} good${chunk.repair ? `, repair ${chunk.repair}` : ""}`,
                chunk.replicas.map((replica) => whereabouts(replica)).join(", "),
              ]),
              [0, 2],
            ),
            "",
            "Good means as far as is known: damage since a copy was read back, or written, is noticed when it is read again.",
          ]),
      ...decisions(chunks),
    ].join("\n"),
  );
  return 0;
}

function whereabouts(replica: Explanation["chunks"][number]["replicas"][number]): string {
  const { worker, zone, state, reason } = replica;
  if (state !== "good") return `${worker} ${state.toUpperCase()}${reason ? `: ${reason}` : ""}`;
  return `${worker} (${zone}; ${verifiedInWords(replica, localTime)})`;
}

/** Chunks placed by the same rule, of workers in the same condition, share a line. */
function decisions(chunks: Explanation["chunks"]): string[] {
  const byRule = Map.groupBy(chunks, ({ decision }) => decisionInWords(decision));
  if (byRule.size === 0) return [];
  return [
    "",
    "Why there:",
    ...[...byRule].map(
      ([rule, same]) =>
        `  ${same.length === 1 ? `chunk ${same[0]?.index}` : counted(same.length, "chunk")}: ${printable(rule)}`,
    ),
  ];
}

function decisionInWords(decision: Explanation["chunks"][number]["decision"]): string {
  if (decision === null) return "not known any more: accounts of placements are kept for 30 days";
  const { rule, counts = {} } = decision;
  const found = Object.entries(counts).map(([what, workers]) => `${workers} ${what}`);
  return found.length === 0 ? rule : `${rule} (workers: ${found.join(", ")})`;
}
