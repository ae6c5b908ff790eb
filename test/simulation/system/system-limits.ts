/** What a whole cluster may hold in memory and in its books: bounded at every moment, and given back when nobody asks any more. */
import { lastIndex } from "../../../actors/rules/raft/log-tail.ts";
import { SYSTEM } from "../../../gateway/access/principal.ts";
import type { Backend } from "../../../gateway/ports/backend.ts";
import { Violation } from "../raft-checks.ts";
import type { Program } from "./computer.ts";
import { type Node, type System, sqliteOf } from "./system.ts";

const MAX_OPEN_CHUNKS = 1024;
/** One chunk may be written whole beyond the point at which writers wait. */
const MAX_UNFLUSHED_BYTES = (128 << 20) + (1 << 20);
const MAX_WAITING_COMMANDS = 20_000;
/** Answers kept for a gateway's commands: as many as it numbers ahead, and a batch that is forgotten at once. */
const MAX_OUTCOMES = 192 + 64;
const MAX_EARLIER_CONFIGURATIONS = 8;
/** Entries that may come before the log is cut back the next time. */
const LOG_SLACK = 200;

/** By the gateway's own clock: by ours it would forgive workers that failed it, earlier or later than it does itself. */
const activityOf = ({ computer }: Node, gateway: Backend) =>
  (computer.program as Program).within(() => gateway.as(SYSTEM).transfers.activity());

/** I15. @throws Violation */
export function checkLimits(system: System): void {
  const atMost = (node: Node, what: string, is: number, limit: number): void => {
    if (!(is >= 0 && is <= limit))
      throw new Violation("I15", `${node.id} has ${is} ${what}, at most ${limit} are allowed`);
  };
  for (const { node, engine } of system.engines()) {
    const { state } = engine.raft;
    const { commands, bytes } = engine.load;
    atMost(node, "commands that wait", commands, MAX_WAITING_COMMANDS);
    atMost(node, "bytes of commands that wait", bytes, 64 << 20);
    atMost(node, "earlier configurations", state.earlierConfigurations.length, MAX_EARLIER_CONFIGURATIONS);
    for (const [id, { inflight }] of Object.entries(state.progress))
      atMost(node, `appends under way to ${id}`, inflight.length, state.maxInflight);
    const { most } = sqliteOf(engine)
      .prepare<{ most: number | null }>(
        "SELECT max(n) AS most FROM (SELECT count(*) AS n FROM outcomes GROUP BY session_id)",
      )
      .get() as { most: number | null };
    atMost(node, "answers kept for one session", most ?? 0, MAX_OUTCOMES);
  }
  for (const node of system.of("worker")) {
    if (!node.worker || !system.isUp(node)) continue;
    const { store } = node.worker;
    const { chunkCount, sealedBytes, trashBytes, openChunks, openBytes } = store.totals;
    atMost(node, "chunks", chunkCount, Number.MAX_SAFE_INTEGER);
    atMost(node, "bytes of chunks", sealedBytes, Number.MAX_SAFE_INTEGER);
    atMost(node, "bytes of trash", trashBytes, Number.MAX_SAFE_INTEGER);
    atMost(node, "open chunks", openChunks, MAX_OPEN_CHUNKS);
    atMost(node, "bytes of open chunks", openBytes, Number.MAX_SAFE_INTEGER);
    atMost(node, "bytes not flushed", store.flushes.unflushedBytes, MAX_UNFLUSHED_BYTES);
  }
  for (const node of system.of("gateway")) {
    if (!node.gateway || !system.isUp(node)) continue;
    const { uploads, downloads, bufferBytesInUse, bufferBytesLimit } = activityOf(node, node.gateway);
    const { maxUploads, maxDownloads } = system.config.limits;
    atMost(node, "bytes of buffers", bufferBytesInUse, bufferBytesLimit);
    atMost(node, "uploads", uploads.length, maxUploads);
    atMost(node, "downloads", downloads.length, maxDownloads);
  }
}

/** What is still held although no client asks for anything any more. */
export function whatIsHeld(system: System): string[] {
  const held: string[] = [];
  const note = (node: Node, what: string, count: number): void => {
    if (count !== 0) held.push(`${node.id} still has ${count} ${what}`);
  };
  for (const { node, engine } of system.engines()) {
    const { commands, bytes, reads } = engine.load;
    note(node, "bytes of commands", commands === 0 ? bytes : 0);
    note(node, "reads", engine.raft.role === "leader" ? 0 : reads);
    const { log } = engine.raft.state;
    const entries = lastIndex(log) - log.baseIndex;
    if (entries > 2 * system.knobs.keepEntries + LOG_SLACK) note(node, "entries in its log", entries);
  }
  for (const node of system.of("worker"))
    if (node.worker && system.isUp(node)) {
      note(
        node,
        "bytes of open chunks without such a chunk",
        node.worker.store.totals.openChunks === 0 ? node.worker.store.totals.openBytes : 0,
      );
      note(
        node,
        "bytes not flushed without an open chunk",
        node.worker.store.totals.openChunks === 0 ? node.worker.store.flushes.unflushedBytes : 0,
      );
    }
  for (const node of system.of("gateway"))
    if (node.gateway && system.isUp(node)) {
      const { uploads, downloads, bufferBytesInUse } = activityOf(node, node.gateway);
      note(node, "bytes of buffers", bufferBytesInUse);
      note(node, "uploads", uploads.length);
      note(node, "downloads", downloads.length);
    }
  return held;
}
