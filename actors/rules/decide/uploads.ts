/** Uploads that outlive connections: opened, staged chunk by chunk, committed in one step, or expired. */
import type { CommandOf } from "../../messages/commands.ts";
import { combineCrc32, formatCrc32 } from "../crc32.ts";
import { addStoredChunks, freeChunks, tooFewReplicas } from "./chunks.ts";
import { accepted, type Deciding, type Decision, type Environment, RefusedCommand, read, readOne } from "./decision.ts";
import { checkCondition, checkHeaders, existing, find, linkFile, nodeIds } from "./namespace.ts";
import type { UploadRow } from "./rows.ts";
import type { Write } from "./state.ts";

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
      {
        id: env.index,
        fileId: ids.take(),
        path: command.path,
        condition: command.condition,
        ...{ contentType, sha256, userMetadata },
        replicationFactor: command.replicationFactor,
        minReplicas: command.minReplicas,
        chunkSizeBytes: command.chunkSizeBytes,
        expiresAt: env.logTime + command.leaseMs,
      },
    ],
    ...ids.writes(),
  ]);
}

function* liveUpload(uploadId: number, env: Environment): Deciding<UploadRow> {
  const upload = yield* readOne("upload", { uploadId });
  if (!upload || upload.expiresAt <= env.logTime)
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
    upload.fileId,
    command.chunks,
    { offset: upload.offset, index: upload.chunkCount },
    upload,
    env,
  );
  return accepted({ offset: stored.endOffset }, [
    ...stored.writes,
    [
      "advanceUpload",
      {
        uploadId: upload.id,
        offset: stored.endOffset,
        crc32: combineCrc32(upload.crc32, stored.crc32, stored.endOffset - upload.offset),
        chunkCount: upload.chunkCount + command.chunks.length,
        expiresAt: env.logTime + command.leaseMs,
      },
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
  const short = yield* readOne("shortChunk", upload);
  if (short) throw tooFewReplicas(short.id, short.workers.length, upload.minReplicas);
  const place = yield* find(upload.path);
  const ids = yield* nodeIds();
  const linked = yield* linkFile(
    place,
    {
      ...upload,
      sizeBytes: upload.offset,
      sha256: command.sha256 ?? upload.sha256,
    },
    upload.condition,
    ids,
    env,
  );
  return accepted({ file: linked.file, created: linked.created }, [
    ...linked.writes,
    ["dropUpload", { uploadId: upload.id }],
    ...ids.writes(),
  ]);
}

/** An upload that is gone already was committed, aborted or expired: nothing to do, and not an error. */
export function* abortUpload(command: CommandOf<"ABORT_UPLOAD">, env: Environment): Deciding<Decision> {
  const upload = yield* readOne("upload", command);
  return accepted(null, upload ? yield* throwAway(upload, env) : []);
}

export function* throwAway(upload: UploadRow, env: Environment): Deciding<Write[]> {
  const few = 16;
  if (upload.chunkCount > few)
    return [
      ["dropUpload", { uploadId: upload.id }],
      ["bury", { id: upload.fileId, kind: "file" }],
    ];
  const chunks = yield* read("fileChunks", { fileId: upload.fileId, limit: few });
  return [["dropUpload", { uploadId: upload.id }], ...freeChunks(chunks, env)];
}
