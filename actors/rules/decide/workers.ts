/** Workers and the copies on them: joined, lost, repaired, trimmed. */
import type { CommandOf } from "../../messages/commands.ts";
import { piecesOf } from "../redundancy/scheme.ts";
import { changeSet, isGranted } from "./chunks.ts";
import { accepted, type Deciding, type Decision, type Environment, RefusedCommand, read, readOne } from "./decision.ts";
import type { ChunkRow } from "./rows.ts";
import { asSet, type Write } from "./state.ts";

export function* registerWorker(command: CommandOf<"REGISTER_WORKER">): Deciding<Decision> {
  const known = yield* readOne("worker", command);
  if (known?.mode === "removed" && known.incarnation === command.incarnation)
    throw new RefusedCommand(
      "WRONG_NODE",
      `${command.workerId} was removed from the cluster; start it with an empty disk`,
    );
  const isWiped = known !== undefined && known.incarnation !== command.incarnation;
  const totals = isWiped ? yield* readOne("totals", {}) : undefined;
  const writes: Write[] = [
    [
      "putWorker",
      {
        id: command.workerId,
        url: command.url,
        zone: command.zone,
        incarnation: command.incarnation,
        capacityBytes: command.capacityBytes,
        liveness: "live",
        mode: known && known.mode !== "removed" ? known.mode : "active",
        lostBelow: totals?.nextChunkId ?? known?.lostBelow ?? 0,
      },
    ],
  ];
  if (isWiped) writes.push(...(yield* forgetCopiesOn(command.workerId)));
  return accepted(null, writes);
}

/**
 * All copies on a worker are gone (its disk was wiped, or it was removed). The sets that name it are renamed in place,
 * so this costs rows by set, not by chunk.
 */
function* forgetCopiesOn(workerId: string): Deciding<Write[]> {
  const writes: Write[] = [
    ["dropGarbageOfWorker", { workerId }],
    ["dropFaultsOfWorker", { workerId }],
  ];
  for (const { id: setId, workers } of yield* read("replicaSets", {}))
    if (workers.includes(workerId))
      writes.push(["renameSet", { setId, workers: asSet(workers.filter((id) => id !== workerId)) }]);
  return writes;
}

function* knownWorker(workerId: string): Deciding<void> {
  if (!(yield* readOne("worker", { workerId })))
    throw new RefusedCommand("NO_SUCH_WORKER", `There is no worker ${workerId}`);
}

export function* setWorkerLiveness(command: CommandOf<"SET_WORKER_LIVENESS">): Deciding<Decision> {
  yield* knownWorker(command.workerId);
  return accepted(null, [["setLiveness", command]]);
}

export function* setWorkerMode(command: CommandOf<"SET_WORKER_MODE">): Deciding<Decision> {
  yield* knownWorker(command.workerId);
  const writes: Write[] = [["setMode", command]];
  if (command.mode === "removed") writes.push(...(yield* forgetCopiesOn(command.workerId)));
  return accepted(null, writes);
}

/**
 * Several changes to one chunk in one command must build on each other, so rows are kept here as they stand after the
 * changes so far; each chunk's set is written once, at the end.
 */
class ChangedSets {
  readonly #chunks = new Map<number, { row: ChunkRow; workers: Set<string> }>();

  *of(chunkId: number): Deciding<{ row: ChunkRow; workers: Set<string> } | undefined> {
    const seen = this.#chunks.get(chunkId);
    if (seen) return seen;
    const row = yield* readOne("chunk", { chunkId });
    if (!row) return undefined;
    const chunk = { row, workers: new Set(row.workers) };
    this.#chunks.set(chunkId, chunk);
    return chunk;
  }

  *writes(): Generator<Write> {
    for (const { row, workers } of this.#chunks.values()) {
      const isChanged = workers.size !== row.workers.length || row.workers.some((id) => !workers.has(id));
      if (isChanged) yield* changeSet(row, asSet(workers));
      if (workers.size >= piecesOf(row.scheme)) yield ["dropFaults", { chunkId: row.id }];
    }
  }
}

/** A copy that is on its way to the trash does not count as a new one. */
export function* addReplicas(command: CommandOf<"ADD_REPLICAS">): Deciding<Decision> {
  const sets = new ChangedSets();
  const writes: Write[] = [];
  let added = 0;
  for (const { chunkId, workerId, reason } of command.replicas) {
    const chunk = yield* sets.of(chunkId);
    const worker = yield* readOne("worker", { workerId });
    if (!chunk || !worker || worker.mode === "removed" || chunk.workers.has(workerId)) continue;
    if (yield* readOne("garbage", { workerId, chunkId })) continue;
    chunk.workers.add(workerId);
    writes.push(["dropFault", { chunkId, workerId }], ["putReason", { chunkId, workerId, reason }]);
    added++;
  }
  return accepted({ added }, [...writes, ...sets.writes()]);
}

export function* markReplicas(command: CommandOf<"MARK_REPLICAS">, env: Environment): Deciding<Decision> {
  const sets = new ChangedSets();
  const writes: Write[] = [];
  let marked = 0;
  for (const { chunkId, workerId, state } of command.replicas) {
    const chunk = yield* sets.of(chunkId);
    // A chunk that is not committed yet: the commit will not count this copy.
    const counts = chunk ? chunk.workers.delete(workerId) : yield* isGranted(chunkId);
    if (!counts) continue;
    writes.push(["putFault", { chunkId, workerId, state, since: env.wallTime }]);
    marked++;
  }
  return accepted({ marked }, [...sets.writes(), ...writes]);
}

/** Counts the other copies again, at the moment that counts: never below the factor, never on the word of the dead. */
export function* dropReplica(command: CommandOf<"DROP_REPLICA">, env: Environment): Deciding<Decision> {
  const { chunkId, workerId } = command;
  if (command.term !== env.term)
    throw new RefusedCommand("STALE_TERM", `Proof of term ${command.term} does not count in term ${env.term}`);
  const chunk = yield* readOne("chunk", { chunkId });
  const workers = chunk?.workers ?? [];
  if (!chunk || !workers.includes(workerId)) return accepted({ dropped: false }, []);
  let kept = 0;
  for (const keeperId of new Set(command.keep)) {
    const keeper = yield* readOne("worker", { workerId: keeperId });
    if (keeperId !== workerId && workers.includes(keeperId) && keeper?.liveness === "live" && keeper.mode === "active")
      kept++;
  }
  const needed = piecesOf(chunk.scheme);
  if (kept < needed)
    throw new RefusedCommand("TOO_FEW_REPLICAS", `Chunk ${chunkId} would keep ${kept} proven copies; ${needed} needed`);
  return accepted({ dropped: true }, [
    ...changeSet(chunk, asSet(workers.filter((id) => id !== workerId))),
    ["putGarbage", { workerId, chunkId, freedAt: env.logTime }],
  ]);
}
