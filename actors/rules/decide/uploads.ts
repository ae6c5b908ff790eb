/** Uploads that outlive connections: opened, staged chunk by chunk, committed in one step, or expired. */
import type { CommandOf } from "../../messages/commands.ts";
import { combineCrc32, formatCrc32 } from "../crc32.ts";
import { addStoredChunks, freeChunks, tooFewReplicas } from "./chunks.ts";
import { checkCondition, checkHeaders, existing, find, linkFile, nodeIds } from "./namespace.ts";
import {
  accepted,
  type Deciding,
  type Decision,
  type Environment,
  RefusedCommand,
  read,
  readOne,
  splitWorkers,
  type UploadRow,
  type Write,
} from "./state.ts";

/** The condition is checked here for an early answer, and again at the commit, where it counts. */
export function* openUpload(command: CommandOf<"OPEN_UPLOAD">, env: Environment): Deciding<Decision> {
  checkHeaders(command, env);
  const place = yield* find(command.path);
  checkCondition(command.condition, existing(place), command.path);
  if (place.directory) throw new RefusedCommand("IS_A_DIRECTORY", `${command.path} is a directory`);
  const ids = yield* nodeIds();
  const { contentType, sha256, userMetadata } = command;
  return accepted({ uploadId: env.index }, [
    [
      "putUpload",
      env.index,
      ids.take(),
      command.path,
      JSON.stringify(command.condition),
      JSON.stringify({ contentType, sha256, userMetadata }),
      command.replicationFactor,
      command.minReplicas,
      command.chunkSizeBytes,
      env.logTime + command.leaseMs,
    ],
    ...ids.writes(),
  ]);
}

function* liveUpload(uploadId: number, env: Environment): Deciding<UploadRow> {
  const upload = yield* readOne("upload", uploadId);
  if (!upload || upload.expires <= env.logTime)
    throw new RefusedCommand("NO_SUCH_UPLOAD", `Upload ${uploadId} does not exist, or no longer`);
  return upload;
}

export function* stageChunks(command: CommandOf<"STAGE_CHUNKS">, env: Environment): Deciding<Decision> {
  const upload = yield* liveUpload(command.uploadId, env);
  if (command.offset !== upload.offset)
    throw new RefusedCommand("UPLOAD_OFFSET_MISMATCH", `The upload stands at ${upload.offset}, not ${command.offset}`, {
      offset: upload.offset,
    });
  const stored = yield* addStoredChunks(
    upload.file_id,
    command.chunks,
    { offset: upload.offset, index: upload.chunk_count },
    { replicationFactor: upload.replication, minReplicas: upload.min_replicas },
    env,
  );
  return accepted({ offset: stored.endOffset }, [
    ...stored.writes,
    [
      "advanceUpload",
      stored.endOffset,
      combineCrc32(upload.crc32, stored.crc32, stored.endOffset - upload.offset),
      upload.chunk_count + command.chunks.length,
      env.logTime + command.leaseMs,
      upload.id,
    ],
  ]);
}

export function* commitUpload(command: CommandOf<"COMMIT_UPLOAD">, env: Environment): Deciding<Decision> {
  const upload = yield* liveUpload(command.uploadId, env);
  if (command.sizeBytes !== upload.offset)
    throw new RefusedCommand(
      "UPLOAD_OFFSET_MISMATCH",
      `The upload holds ${upload.offset} bytes, not ${command.sizeBytes}`,
      {
        offset: upload.offset,
      },
    );
  if (command.crc32 !== null && command.crc32 !== upload.crc32)
    throw new RefusedCommand(
      "DIGEST_MISMATCH",
      `The upload's CRC-32 is ${formatCrc32(upload.crc32)}, not ${formatCrc32(command.crc32)}`,
    );
  // Staged long ago, a chunk may have lost copies since. It is repaired meanwhile, so the commit may be tried again.
  const short = yield* readOne("shortChunk", upload.file_id, upload.min_replicas);
  if (short) throw tooFewReplicas(short.id, splitWorkers(short.workers).length, upload.min_replicas);
  const place = yield* find(upload.path);
  const ids = yield* nodeIds();
  const attributes = JSON.parse(upload.attributes);
  const linked = yield* linkFile(
    place,
    {
      ...attributes,
      fileId: upload.file_id,
      sizeBytes: upload.offset,
      crc32: upload.crc32,
      chunkCount: upload.chunk_count,
      replicationFactor: upload.replication,
      sha256: command.sha256 ?? attributes.sha256,
    },
    JSON.parse(upload.condition),
    ids,
    env,
  );
  return accepted({ file: linked.file, created: linked.created }, [
    ...linked.writes,
    ["dropUpload", upload.id],
    ...ids.writes(),
  ]);
}

/** An upload that is gone already was committed, aborted or expired: nothing to do, and not an error. */
export function* abortUpload(command: CommandOf<"ABORT_UPLOAD">, env: Environment): Deciding<Decision> {
  const upload = yield* readOne("upload", command.uploadId);
  return accepted(null, upload ? yield* throwAway(upload, env) : []);
}

export function* throwAway(upload: UploadRow, env: Environment): Deciding<Write[]> {
  const few = 16;
  if (upload.chunk_count > few)
    return [
      ["dropUpload", upload.id],
      ["bury", upload.file_id, "file"],
    ];
  const chunks = yield* read("fileChunks", upload.file_id, few);
  return [["dropUpload", upload.id], ...freeChunks(chunks, env)];
}
