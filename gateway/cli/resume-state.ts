/** Small notes about transfers under way, so that the same command typed again goes on: one file per transfer. */
import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";

/** What makes it the same transfer: put = gateway, path, size and time of the source; get = gateway, path and target. */
export type TransferKey = Record<string, string | number>;

const directory = (): string =>
  join(Bun.env.XDG_STATE_HOME || join(Bun.env.HOME || homedir(), ".local", "state"), "dfs");

const fileOf = (key: TransferKey): string =>
  join(directory(), `${new Bun.CryptoHasher("sha256").update(JSON.stringify(key)).digest("hex").slice(0, 32)}.json`);

/** @returns null if there is none, or none that can be read: then the transfer starts at the beginning */
export function recall<T>(key: TransferKey): T | null {
  try {
    return (JSON.parse(readFileSync(fileOf(key), "utf8")) as { value: T }).value;
  } catch {
    return null;
  }
}

/** A state folder that cannot be written costs the resumption, not the transfer. */
export function remember<T>(key: TransferKey, value: T): void {
  try {
    mkdirSync(directory(), { recursive: true, mode: 0o700 });
    const path = fileOf(key);
    writeFileSync(`${path}.${process.pid}`, JSON.stringify({ ...key, value }), { mode: 0o600 });
    renameSync(`${path}.${process.pid}`, path);
  } catch {
    // as the docstring says
  }
}

export const forget = (key: TransferKey): void => rmSync(fileOf(key), { force: true });
