/**
 * Each write as a flat list of values. The list is what statements bind, and what the state's hash is made of, so its
 * order and its spelling are fixed since cluster version 2: masters of different programs compare their hashes. Bytes are
 * bound behind the list, and are not in the hash.
 */
import type { Write, Writes } from "../../actors/rules/decide/state.ts";
import type { Scheme } from "../../actors/rules/redundancy/scheme.ts";

export type Value = string | number | null;

/** Worker ids hold no comma. */
const joinWorkers = (workers: readonly string[]): string => workers.join(",");
export const splitWorkers = (workers: string): string[] => (workers === "" ? [] : workers.split(","));

const setName = ({ scheme, workers }: { scheme: Scheme; workers: readonly string[] }): [number, string] => [
  scheme.count,
  joinWorkers(workers),
];

const VALUES_OF: { [K in keyof Writes]: (what: Writes[K]) => Value[] } = {
  putEntry: (row) => [
    row.parent,
    row.key,
    row.id,
    row.sizeBytes,
    row.crc32,
    row.etag,
    row.contentType,
    row.sha256,
    JSON.stringify(row.userMetadata),
    row.replicationFactor,
    row.chunkCount,
    row.createdAt,
    row.modifiedAt,
  ],
  moveEntry: ({ parent, key, fromParent, fromKey }) => [parent, key, fromParent, fromKey],
  dropEntry: ({ parent, key }) => [parent, key],
  addTotals: ({ files, directories, bytes }) => [files, directories, bytes],
  addTinyBytes: ({ bytes }) => [bytes],
  putContent: ({ fileId }) => [fileId],
  copyContent: ({ fromFileId, toFileId }) => [toFileId, fromFileId],
  dropContent: ({ fileId }) => [fileId],
  takeNodeIds: ({ count }) => [count],
  takeChunkIds: ({ count }) => [count],
  growSet: (set) => [...setName(set), ...setName(set)],
  addToSet: setName,
  shrinkSet: ({ setId }) => [setId],
  shrinkSetBy: ({ setId, count }) => [count, setId],
  renameSet: ({ setId, workers }) => [joinWorkers(workers), setId],
  dropEmptySets: () => [],
  putChunk: (chunk) => [chunk.id, chunk.lengthBytes, chunk.crc32, ...setName(chunk)],
  moveChunkToSet: (chunk) => [...setName(chunk), chunk.chunkId],
  dropChunk: ({ chunkId }) => [chunkId],
  dropChunks: ({ chunkIds }) => [JSON.stringify(chunkIds)],
  dropFaultsOfChunks: ({ chunkIds }) => [JSON.stringify(chunkIds)],
  dropReasonsOfChunks: ({ chunkIds }) => [JSON.stringify(chunkIds)],
  addRef: ({ chunkId, delta }) => [delta, chunkId],
  addRefs: ({ fileId }) => [fileId],
  putFileChunk: ({ fileId, offset, index, chunkId }) => [fileId, offset, index, chunkId],
  copyFileChunks: ({ fromFileId, toFileId }) => [toFileId, fromFileId],
  dropFileChunk: ({ fileId, offset }) => [fileId, offset],
  dropFileChunks: ({ fileIds }) => [JSON.stringify(fileIds)],
  putGrant: ({ id, count, gatewayId, expiresAt, decision }) => [
    id,
    count,
    gatewayId,
    expiresAt,
    JSON.stringify(decision),
  ],
  putPlacedGrant: ({ id, count, gatewayId, expiresAt, accountId, chosen }) => [
    id,
    count,
    gatewayId,
    expiresAt,
    accountId,
    joinWorkers(chosen),
  ],
  putAccount: ({ id, madeAt, decision }) => [id, madeAt, JSON.stringify(decision)],
  dropAccount: ({ id }) => [id],
  renewGrant: ({ grantId, expiresAt }) => [expiresAt, grantId],
  closeGrant: ({ grantId }) => [grantId],
  dropGrant: ({ grantId }) => [grantId],
  putUpload: ({ contentType, sha256, userMetadata, ...upload }) => [
    upload.id,
    upload.fileId,
    upload.path,
    JSON.stringify(upload.condition),
    JSON.stringify({ contentType, sha256, userMetadata }),
    upload.replicationFactor,
    upload.minReplicas,
    upload.chunkSizeBytes,
    upload.expiresAt,
  ],
  advanceUpload: ({ uploadId, offset, crc32, chunkCount, expiresAt }) => [
    offset,
    crc32,
    chunkCount,
    expiresAt,
    uploadId,
  ],
  dropUpload: ({ uploadId }) => [uploadId],
  bury: ({ id, kind }) => [id, kind],
  unbury: ({ id }) => [id],
  unburyAll: ({ ids }) => [JSON.stringify(ids)],
  putWorker: (row) => [
    row.id,
    row.url,
    row.zone,
    row.incarnation,
    row.capacityBytes,
    row.liveness,
    row.mode,
    row.lostBelow,
  ],
  setLiveness: ({ workerId, liveness }) => [liveness, workerId],
  setMode: ({ workerId, mode }) => [mode, workerId],
  dropGarbageOfWorker: ({ workerId }) => [workerId],
  dropFaultsOfWorker: ({ workerId }) => [workerId],
  putFault: ({ chunkId, workerId, state, since }) => [chunkId, workerId, state, since],
  dropFault: ({ chunkId, workerId }) => [chunkId, workerId],
  dropFaults: ({ chunkId }) => [chunkId],
  dropFaultsOfUnused: ({ first, last }) => [first, last, first, last],
  putReason: ({ chunkId, workerId, reason }) => [chunkId, workerId, reason],
  dropReasons: ({ chunkId }) => [chunkId],
  putGarbage: ({ workerId, chunkId, freedAt }) => [workerId, chunkId, freedAt],
  putGarbageOf: ({ workerIds, chunkIds, freedAt }) => [freedAt, JSON.stringify(workerIds), JSON.stringify(chunkIds)],
  dropGarbage: ({ workerId, chunkId }) => [workerId, chunkId],
  dropGarbageOf: ({ workerId, chunkIds }) => [workerId, JSON.stringify(chunkIds)],
  putSession: ({ id, clientId, lastActiveAt }) => [id, clientId, lastActiveAt],
  touchSession: ({ sessionId, lastActiveAt, lowestSeq }) => [lastActiveAt, lowestSeq, sessionId],
  dropSession: ({ sessionId }) => [sessionId],
  putOutcome: ({ sessionId, seq, result }) => [sessionId, seq, JSON.stringify(result)],
  dropOutcomes: ({ sessionId, belowSeq }) => [sessionId, belowSeq],
  putKeyedOutcome: ({ key, fingerprint, result, expiresAt }) => [key, fingerprint, JSON.stringify(result), expiresAt],
  dropKeyedOutcomes: ({ logTime }) => [logTime],
  setVersion: ({ version }) => [version],
  setMark: ({ index, hash }) => [index, hash],
};

/** What is bound behind the values. */
export const bytesOf = ([name, what]: Write): Uint8Array | null => (name === "putContent" ? what.bytes : null);

export const valuesOf = ([name, what]: Write): Value[] => VALUES_OF[name](what as never);
