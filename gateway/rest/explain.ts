/** `?explain`: where each chunk of a file is, how healthy, and why there; or that its bytes lie in the metadata. The leader's books, checked with the workers. */
import { type Static, Type } from "@sinclair/typebox";
import { Refusal } from "../../actors/messages/errors.ts";
import { Nullable, type PlacementDecision } from "../../actors/messages/primitives.ts";
import { ReplicaState } from "../../actors/messages/questions.ts";
import type { ChunkDescription } from "../../actors/messages/worker.ts";
import { formatChunkId } from "../../actors/rules/chunk-id.ts";
import { formatCrc32 } from "../../actors/rules/crc32.ts";
import type { ExplainAnswer, Operations } from "../ports/operations.ts";
import { FileJson, fileJson, IsoTime } from "./file-json.ts";

/** Workers are asked about this many copies at once. */
const QUESTIONS_AT_ONCE = 16;

const Decision = Type.Object({
  at: IsoTime,
  rule: Type.String({ description: "the rule that fired" }),
  chosen: Type.Optional(
    Type.Array(Type.String(), { description: "the first workers of the chunk; absent if many were placed at once" }),
  ),
  candidates: Type.Array(
    Type.Object({ worker: Type.String(), score: Type.Number(), rejected: Type.Optional(Type.String()) }),
    { description: "the best that could take the chunk, then the best that could not" },
  ),
  counts: Type.Optional(
    Type.Record(Type.String(), Type.Integer(), {
      description: "of all workers, by what was found; absent in old accounts",
    }),
  ),
});
const Replica = Type.Object({
  worker: Type.String(),
  url: Type.String(),
  zone: Type.String(),
  state: Type.Unsafe<Static<typeof ReplicaState>>({
    ...ReplicaState,
    description: "good: as far as is known. Damage since `verifiedAt` would not be noticed yet",
  }),
  workerState: Type.String(),
  /** When its worker last read the whole copy back and found it right; null: never since it was written, or not known. */
  verifiedAt: Nullable(IsoTime),
  /** When it was written there; null: not known. */
  sealedAt: Nullable(IsoTime),
  reason: Nullable(Type.String()),
});

export const Explanation = Type.Object({
  ...FileJson.properties,
  storage: Type.String({
    description: "metadata: a tiny file, whose bytes every master keeps; workers: its chunks do",
  }),
  masters: Type.Optional(
    Type.Array(Type.String(), { description: "with storage metadata: those whose disks hold it" }),
  ),
  chunkCount: Type.Integer(),
  chunks: Type.Array(
    Type.Object({
      id: Type.String({ description: "16 hex digits" }),
      index: Type.Integer(),
      offset: Type.Integer(),
      length: Type.Integer(),
      crc32: Type.String(),
      replicas: Type.Array(Replica),
      decision: Type.Unsafe<Static<typeof Decision> | null>({
        ...Nullable(Decision),
        description: "null: it is not known any more; accounts are kept for 30 days",
      }),
      repair: Nullable(Type.String()),
    }),
  ),
  now: Nullable(Decision),
  next: Nullable(Type.Integer({ description: "fromIndex of the next page" })),
});
export type Explanation = Static<typeof Explanation>;

type LedgerReplica = ExplainAnswer["chunks"][number]["replicas"][number];

/** @throws NO_SUCH_FILE */
export async function explainFile(
  operations: Operations,
  path: string,
  fromIndex: number,
  limit: number,
): Promise<Explanation> {
  const { file, chunks, masters, now, next } = await operations.explain(path, fromIndex, limit);
  if (file === null) throw new Refusal("NO_SUCH_FILE", `There is no file "${path}"`, { path });
  const questions = chunks.flatMap((chunk) => chunk.replicas.map((replica) => ({ chunk, replica })));
  const answers = new Map<
    LedgerReplica,
    Pick<Static<typeof Replica>, "state" | "verifiedAt" | "sealedAt" | "reason">
  >();
  await Promise.all(
    Array.from({ length: QUESTIONS_AT_ONCE }, async () => {
      for (let question = questions.pop(); question; question = questions.pop())
        answers.set(question.replica, await askWorker(operations, question.chunk, question.replica));
    }),
  );
  return {
    ...fileJson(file),
    storage: masters ? "metadata" : "workers",
    ...(masters ? { masters } : {}),
    chunkCount: file.chunkCount,
    chunks: chunks.map((chunk) => ({
      id: formatChunkId(chunk.chunkId),
      index: chunk.index,
      offset: chunk.offset,
      length: chunk.lengthBytes,
      crc32: formatCrc32(chunk.crc32),
      replicas: chunk.replicas.map((replica) => ({
        worker: replica.worker,
        url: replica.url,
        zone: replica.zone,
        workerState: replica.workerState,
        ...(answers.get(replica) as NonNullable<ReturnType<typeof answers.get>>),
      })),
      decision: decisionJson(chunk.decision),
      repair: chunk.repair,
    })),
    now: decisionJson(now),
    next,
  };
}

const decisionJson = (decision: PlacementDecision | null): Static<typeof Decision> | null =>
  decision && {
    at: new Date(decision.atLogTime).toISOString(),
    rule: decision.rule,
    ...(decision.chosen === undefined ? {} : { chosen: decision.chosen }),
    candidates: decision.candidates.map(({ workerId, score, rejected }) => ({
      worker: workerId,
      score,
      ...(rejected === undefined ? {} : { rejected }),
    })),
    ...(decision.counts === undefined ? {} : { counts: decision.counts }),
  };

/** The leader's verdict stands unless the worker itself says worse; a worker that does not answer proves nothing. */
async function askWorker(
  operations: Operations,
  chunk: { chunkId: number; lengthBytes: number; crc32: number },
  { url, state, reason, workerState }: LedgerReplica,
) {
  const fromLedger = { state, verifiedAt: null, sealedAt: null, reason };
  if (workerState === "dead") return { ...fromLedger, reason: reason ?? "The worker is dead" };
  try {
    const copy = await operations.describeReplica(url, chunk.chunkId);
    const found = { ...fromLedger, ...timesOf(copy) };
    if (copy.state === "quarantined")
      return { ...found, state: "corrupt" as const, reason: reason ?? "The worker quarantined it" };
    if (copy.state === "trash") return { ...found, state: "trash" as const };
    if (copy.state === "open") return { ...found, state: "missing" as const, reason: reason ?? "It is not sealed" };
    if (copy.lengthBytes !== chunk.lengthBytes || copy.crc32 !== chunk.crc32)
      return { ...found, state: "stale" as const, reason: reason ?? "Length or checksum are not the committed ones" };
    return found;
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    if (error.code === "NO_SUCH_CHUNK" && state === "good")
      return { ...fromLedger, state: "missing" as const, reason: error.message };
    return { ...fromLedger, reason: reason ?? error.message };
  }
}

/**
 * The worker counts a fresh copy as verified when it was written, for the order of the scrub. That copy was not read back
 * yet, so it is not shown as verified.
 */
function timesOf({ sealedAt, verifiedAt }: ChunkDescription): Pick<Static<typeof Replica>, "verifiedAt" | "sealedAt"> {
  const iso = (ms: number | null) => (ms === null || ms === 0 ? null : new Date(ms).toISOString());
  return { sealedAt: iso(sealedAt), verifiedAt: verifiedAt === sealedAt ? null : iso(verifiedAt) };
}
