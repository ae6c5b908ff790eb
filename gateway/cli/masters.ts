/** `dfs masters` and `dfs backup`: the group of masters, and its metadata kept in a file. */
import { existsSync } from "node:fs";
import { open, rename, rm } from "node:fs/promises";
import { DfsError, type MasterGroup, type MastersOrder } from "../client/client.ts";
import { ExitCode } from "./exit-code.ts";
import { formatBytes, table } from "./output.ts";
import type { Session } from "./session.ts";

export const MASTERS_ORDERS = ["list", "add", "remove", "transfer"];

export async function masters(
  { dfs, output, signal }: Session,
  order: string,
  id: string | undefined,
  url: string | undefined,
): Promise<number> {
  const wanted = orderOf(order, id, url);
  const group = wanted ? await dfs.orderMasters(wanted, { signal }) : await dfs.masters({ signal });
  output.result(group, () => [...(wanted ? [toldOf(wanted), ""] : []), groupView(group)].join("\n"));
  return group.leader === null ? ExitCode.unreachable : ExitCode.ok;
}

function orderOf(order: string, id: string | undefined, url: string | undefined): MastersOrder | null {
  const usage = (message: string, next: string) => new DfsError("INVALID_PARAMETER", message, 0, next);
  if (order === "list") return null;
  if (!MASTERS_ORDERS.includes(order))
    throw usage(`There is no order ${JSON.stringify(order)}.`, `dfs masters ${MASTERS_ORDERS.join("|")}`);
  if (id === undefined) throw usage("Which master?", `dfs masters ${order} ID`);
  if (order === "remove") return { remove: id };
  if (order === "transfer") return { transfer: id };
  if (url === undefined) throw usage(`Where does ${id} serve?`, `dfs masters add ${id} http://host:port`);
  return { add: id, url };
}

function toldOf(order: MastersOrder): string {
  if ("transfer" in order) return `${order.transfer} was asked to lead.`;
  if ("remove" in order) return `${order.remove} does not belong to the masters any more; its process may be stopped.`;
  return (
    `${order.add} learns, and votes by itself once it has caught up. If it does not run yet, start it there:\n` +
    `  bun run master --id ${order.add} --url ${order.url} --join`
  );
}

export function groupView({ leader, term, masters: members }: MasterGroup): string {
  const number = (value: number | null): string => (value === null ? "-" : value.toLocaleString("en"));
  return [
    leader === null ? "Nobody leads." : `${leader} leads in term ${term}.`,
    majorityLine(members),
    "",
    table(
      ["master", "url", "member", "role", "term", "log", "committed", "applied", "lag", "state age"],
      members.map((master) => [
        master.id,
        master.url,
        master.member,
        master.role,
        number(master.term),
        number(master.lastIndex),
        number(master.commitIndex),
        number(master.appliedIndex),
        number(master.lag),
        master.stateAgeMs === null ? "-" : `${number(master.stateAgeMs)} ms`,
      ]),
      [4, 5, 6, 7, 8, 9],
    ),
  ].join("\n");
}

/** How far the group is from having no leader. */
function majorityLine(members: MasterGroup["masters"]): string {
  const voters = members.filter(({ member }) => member === "voter");
  const needed = Math.floor(voters.length / 2) + 1;
  const spare = voters.filter(({ term }) => term !== null).length - needed;
  const majority = `A majority is ${needed} of ${voters.length} ${voters.length === 1 ? "voter" : "voters"}`;
  if (spare < 0) return `${majority}; ${-spare} more must answer before anything can change.`;
  return `${majority}; ${spare === 0 ? "none of those that answer" : spare} may fail now.`;
}

/** The file is there whole, or not at all. */
export async function backup({ dfs, output, signal }: Session, path: string): Promise<number> {
  if (existsSync(path))
    throw new DfsError("ALREADY_EXISTS", `${path} is there already.`, 0, "Give the backup another name.");
  const part = `${path}.part`;
  const file = await open(part, "w", 0o600);
  let bytes = 0;
  try {
    for await (const piece of await dfs.backup({ signal })) {
      bytes += piece.length;
      await file.writeFile(piece);
    }
    const length = await statedLength(part);
    if (length !== bytes) throw new DfsError("UNEXPECTED_ANSWER", "The backup was cut off.", 0, "Make it again.");
    await file.sync();
  } catch (error) {
    await rm(part, { force: true });
    throw error;
  } finally {
    await file.close();
  }
  await rename(part, path);
  output.done({ backup: path, bytes }, () => `The metadata of this moment is in ${path} (${formatBytes(bytes)}).`);
  return ExitCode.ok;
}

/** Length of the whole backup, as the manifest at its beginning says. */
async function statedLength(path: string): Promise<number> {
  const head = Buffer.from(await Bun.file(path).slice(0, 12).arrayBuffer());
  const manifestBytes = head.length === 12 ? head.readUInt32LE(8) : 0;
  const text = await Bun.file(path)
    .slice(12, 12 + manifestBytes)
    .text();
  try {
    return 12 + manifestBytes + (JSON.parse(text) as { sizeBytes: number }).sizeBytes;
  } catch {
    return -1;
  }
}
