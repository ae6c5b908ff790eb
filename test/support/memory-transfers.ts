/** The data path in memory: files whole or not at all, with the same refusals. For tests of what lies above it. */

import { Refusal } from "../../actors/messages/errors.ts";
import type { WriteCondition } from "../../actors/messages/primitives.ts";
import { keptHeaders } from "../../actors/rules/file-headers.ts";
import type { Backend, Services } from "../../gateway/ports/backend.ts";
import type { DirectoryInfo, EntryInfo, FileInfo, Namespace } from "../../gateway/ports/namespace.ts";
import type { ClusterStateAnswer, Operations } from "../../gateway/ports/operations.ts";
import type {
  Activity,
  Bytes,
  FileRequest,
  HashName,
  PutOutcome,
  Transfers,
  UploadInfo,
} from "../../gateway/ports/transfers.ts";

interface MemoryFile {
  info: FileInfo;
  content: Bytes;
}
interface MemoryUpload {
  request: FileRequest;
  parts: Bytes[];
  busy: boolean;
}

export const CHUNK_BYTES = 1 << 16;
const BLOCK_BYTES = 1 << 12;

export interface MemoryDataPath extends Backend, Services {
  files: Map<string, MemoryFile>;
  /** Set to have every call refused so. */
  refusal: Refusal | null;
  cluster: ClusterStateAnswer;
  maxUploads: number;
}

export function memoryDataPath(): MemoryDataPath {
  const files = new Map<string, MemoryFile>();
  const directories = new Map<string, DirectoryInfo>();
  const uploads = new Map<number, MemoryUpload>();
  const answers = new Map<string, unknown>();
  let version = 0;
  let uploading = 0;

  const now = () => Date.now();
  const refuseIfToldTo = () => {
    if (memory.refusal) throw memory.refusal;
  };
  const noSuchFile = (path: string) => new Refusal("NO_SUCH_FILE", `There is no file "${path}"`, { path });

  function entryAt(path: string): EntryInfo | null {
    const file = files.get(path);
    if (file) return file.info;
    const directory = directories.get(path);
    if (directory) return directory;
    for (const other of files.keys())
      if (other.startsWith(`${path}/`)) return { kind: "directory", path, createdAt: 0 };
    return null;
  }

  function check(path: string, condition: WriteCondition | undefined): void {
    const entry = entryAt(path);
    if (condition?.ifNoneMatchAny && entry) throw new Refusal("PRECONDITION_FAILED", `"${path}" exists`);
    if (condition?.ifMatch && (entry?.kind !== "file" || !condition.ifMatch.includes(entry.etag)))
      throw new Refusal("PRECONDITION_FAILED", `"${path}" is another version`);
  }

  function checkPlace(path: string): void {
    if (entryAt(path)?.kind === "directory") throw new Refusal("IS_A_DIRECTORY", `"${path}" is a directory`);
    for (let cut = path.lastIndexOf("/"); cut > 0; cut = path.lastIndexOf("/", cut - 1))
      if (files.has(path.slice(0, cut))) throw new Refusal("NOT_A_DIRECTORY", `"${path.slice(0, cut)}" is a file`);
  }

  function store(request: FileRequest, content: Bytes, sha256: string | null): PutOutcome {
    checkPlace(request.path);
    check(request.path, request.condition);
    const before = files.get(request.path);
    const info: FileInfo = {
      kind: "file",
      path: request.path,
      sizeBytes: content.length,
      etag: `v${++version}`,
      crc32: Bun.hash.crc32(content),
      chunkCount: Math.ceil(content.length / (request.chunkSizeBytes ?? CHUNK_BYTES)),
      replicationFactor: request.replicationFactor ?? 3,
      createdAt: before?.info.createdAt ?? now(),
      modifiedAt: now(),
      contentType: request.contentType ?? "application/octet-stream",
      sha256,
      userMetadata: keptHeaders(request.contentHeaders, request.userMetadata),
    };
    files.set(request.path, { info, content });
    return { file: info, created: !before };
  }

  async function once<T>(key: string | undefined, act: () => T | Promise<T>): Promise<T> {
    if (key === undefined) return act();
    if (answers.has(key)) return answers.get(key) as T;
    const answer = await act();
    answers.set(key, answer);
    return answer;
  }

  async function readAll(body: ReadableStream<Uint8Array> | null, keepPart?: (part: Bytes) => void): Promise<Bytes> {
    const parts: Bytes[] = [];
    try {
      for await (const part of body ?? []) {
        parts.push(part.slice());
        keepPart?.(part.slice());
      }
    } catch (cause) {
      if (cause instanceof Refusal) throw cause;
      throw new Refusal("BODY_INCOMPLETE", `The body broke off: ${(cause as Error).message}`);
    }
    return new Uint8Array(Buffer.concat(parts));
  }

  const infoOf = (uploadId: number): UploadInfo => {
    const upload = uploads.get(uploadId);
    if (!upload) throw new Refusal("NO_SUCH_UPLOAD", `There is no upload ${uploadId}`);
    const content = Buffer.concat(upload.parts);
    return {
      uploadId,
      path: upload.request.path,
      offset: content.length,
      crc32: Bun.hash.crc32(content),
      chunkCount: upload.parts.length,
      chunkSizeBytes: upload.request.chunkSizeBytes ?? CHUNK_BYTES,
      replicationFactor: upload.request.replicationFactor ?? 3,
      expiresInMs: 1000,
      contentType: upload.request.contentType ?? "application/octet-stream",
      userMetadata: keptHeaders(upload.request.contentHeaders, upload.request.userMetadata),
    };
  };

  const transfers: Transfers = {
    async put(request) {
      refuseIfToldTo();
      if (uploading >= memory.maxUploads) throw new Refusal("OVERLOADED", `${uploading} uploads are under way`);
      uploading++;
      try {
        const content = await readAll(request.body);
        if (request.lengthBytes !== undefined && content.length < request.lengthBytes)
          throw new Refusal("BODY_INCOMPLETE", `${content.length} of ${request.lengthBytes} bytes came`);
        const hashOf = (name: HashName) => new Bun.CryptoHasher(name).update(content).digest("hex");
        const { expectedHashes = new Map<HashName, string>() } = request;
        const sha256 = request.wantSha256 || expectedHashes.has("sha256") ? hashOf("sha256") : null;
        for (const [name, expected] of expectedHashes)
          if (hashOf(name) !== expected) throw new Refusal("DIGEST_MISMATCH", `${name} is ${hashOf(name)}`);
        if (request.expectedCrc32 !== undefined && request.expectedCrc32 !== Bun.hash.crc32(content))
          throw new Refusal("DIGEST_MISMATCH", "CRC-32 is another");
        return await once(request.idempotencyKey, () => store(request, content, sha256));
      } finally {
        uploading--;
      }
    },
    async openUpload(request) {
      refuseIfToldTo();
      checkPlace(request.path);
      check(request.path, request.condition);
      return once(request.idempotencyKey, () => {
        const uploadId = ++version;
        uploads.set(uploadId, { request, parts: [], busy: false });
        return infoOf(uploadId);
      });
    },
    async uploadStatus(uploadId) {
      refuseIfToldTo();
      return infoOf(uploadId);
    },
    async settleUpload(uploadId) {
      refuseIfToldTo();
      return infoOf(uploadId);
    },
    async appendUpload(uploadId, offset, body, { lengthBytes } = {}) {
      refuseIfToldTo();
      const standing = infoOf(uploadId).offset;
      const upload = uploads.get(uploadId) as MemoryUpload;
      if (upload.busy) throw new Refusal("UPLOAD_BUSY", "Another append is under way");
      if (offset !== standing)
        throw new Refusal("UPLOAD_OFFSET_MISMATCH", `The upload stands at ${standing}`, { offset: standing });
      upload.busy = true;
      try {
        const { length } = await readAll(body, (part) => upload.parts.push(part));
        if (lengthBytes !== undefined && length < lengthBytes)
          throw new Refusal("BODY_INCOMPLETE", `${length} of ${lengthBytes} bytes came`, { offset: standing + length });
      } finally {
        upload.busy = false;
      }
      return infoOf(uploadId);
    },
    async completeUpload(uploadId, sizeBytes, { expectedCrc32, idempotencyKey } = {}) {
      refuseIfToldTo();
      return once(idempotencyKey, () => {
        const { offset, crc32 } = infoOf(uploadId);
        if (offset !== sizeBytes)
          throw new Refusal("UPLOAD_OFFSET_MISMATCH", `The upload stands at ${offset}`, { offset });
        if (expectedCrc32 !== undefined && expectedCrc32 !== crc32)
          throw new Refusal("DIGEST_MISMATCH", "CRC-32 is another");
        const { request, parts } = uploads.get(uploadId) as MemoryUpload;
        const outcome = store(request, new Uint8Array(Buffer.concat(parts)), null);
        uploads.delete(uploadId);
        return outcome;
      });
    },
    async abortUpload(uploadId) {
      refuseIfToldTo();
      infoOf(uploadId);
      uploads.delete(uploadId);
    },
    async openFile(path) {
      refuseIfToldTo();
      const entry = entryAt(path);
      if (!entry) throw noSuchFile(path);
      const file = files.get(path);
      if (!file) throw new Refusal("IS_A_DIRECTORY", `"${path}" is a directory`);
      return {
        file: file.info,
        stream: (start, endExclusive) => streamBlocks([file.content.subarray(start, endExclusive)]),
        streamRanges: (ranges) =>
          streamBlocks(ranges.map(({ start, endExclusive }) => file.content.subarray(start, endExclusive))),
      };
    },
    activity: (): Activity => ({
      uploads: [],
      downloads: [],
      bytesIn: 0,
      bytesOut: 0,
      uploadsDone: 0,
      uploadsFailed: 0,
      downloadsDone: 0,
      downloadsFailed: 0,
      readFailovers: 0,
      writeFailovers: 0,
      bufferBytesInUse: 0,
      bufferBytesLimit: 0,
      avoidedWorkers: {},
    }),
  };

  function below(path: string): string[] {
    return [...files.keys(), ...directories.keys()].filter((other) => other.startsWith(`${path}/`));
  }

  function moveOrCopy(from: string, to: string, overwrite: boolean, remove: boolean) {
    const entry = entryAt(from);
    if (!entry) throw noSuchFile(from);
    if (to.startsWith(`${from}/`)) throw new Refusal("RENAME_INTO_ITSELF", `"${to}" lies below "${from}"`);
    if (remove && to === from) return { entry, replaced: false };
    const target = entryAt(to);
    if (target && !(overwrite && target.kind === "file" && entry.kind === "file"))
      throw new Refusal("ALREADY_EXISTS", `"${to}" exists`);
    for (const path of [from, ...below(from)]) {
      const place = `${to}${path.slice(from.length)}`;
      const file = files.get(path);
      const directory = directories.get(path);
      if (file) files.set(place, { content: file.content, info: { ...file.info, path: place } });
      if (directory) directories.set(place, { ...directory, path: place });
      if (remove) {
        files.delete(path);
        directories.delete(path);
      }
    }
    return { entry: entryAt(to) as EntryInfo, replaced: target !== null };
  }

  const namespace: Namespace = {
    async stat(path) {
      refuseIfToldTo();
      return entryAt(path);
    },
    async list({ prefix, delimiter, after, limit }) {
      refuseIfToldTo();
      const names = new Map<string, EntryInfo>();
      for (const [path, { info }] of [...files].toSorted(([a], [b]) =>
        Buffer.compare(Buffer.from(a), Buffer.from(b)),
      )) {
        if (!path.startsWith(prefix)) continue;
        const cut = delimiter ? path.indexOf("/", prefix.length) : -1;
        const name = cut < 0 ? path : path.slice(0, cut + 1);
        if (name > after)
          names.set(name, cut < 0 ? info : { kind: "directory", path: path.slice(0, cut), createdAt: 0 });
      }
      const page = [...names].slice(0, limit);
      return {
        entries: page.map(([, entry]) => entry),
        next: names.size > limit ? (page.at(-1)?.[0] ?? null) : null,
        index: version,
      };
    },
    async rename(from, to, { overwrite = false, condition, idempotencyKey } = {}) {
      refuseIfToldTo();
      return once(idempotencyKey, () => {
        check(from, condition);
        return moveOrCopy(from, to, overwrite, true);
      });
    },
    async copy(from, to, { overwrite = false, condition, idempotencyKey } = {}) {
      refuseIfToldTo();
      return once(idempotencyKey, () => {
        check(from, condition);
        return moveOrCopy(from, to, overwrite, false);
      });
    },
    async delete(path, { recursive = false, condition, idempotencyKey } = {}) {
      refuseIfToldTo();
      return once(idempotencyKey, () => {
        const entry = entryAt(path);
        if (!entry) throw noSuchFile(path);
        check(path, { ifMatch: condition?.ifMatch });
        const members = below(path);
        if (members.length > 0 && !recursive) throw new Refusal("DIRECTORY_NOT_EMPTY", `"${path}" is not empty`);
        for (const member of [path, ...members]) {
          files.delete(member);
          directories.delete(member);
        }
        return { entry };
      });
    },
    async makeDirectory(path) {
      refuseIfToldTo();
      const entry = entryAt(path);
      if (entry?.kind === "file") throw new Refusal("ALREADY_EXISTS", `"${path}" is a file`);
      if (!entry) directories.set(path, { kind: "directory", path, createdAt: now() });
      return { created: entry === null };
    },
    async look(path) {
      return { entry: await namespace.stat(path), ageMs: 0 };
    },
  };

  const operations: Operations = {
    async explain(path, fromIndex, limit) {
      refuseIfToldTo();
      const file = files.get(path);
      const count = file?.info.chunkCount ?? 0;
      const end = Math.min(count, fromIndex + limit);
      return {
        file: file?.info ?? null,
        chunks: Array.from({ length: Math.max(0, end - fromIndex) }, (_, n) => ({
          chunkId: 255 + fromIndex + n,
          index: fromIndex + n,
          offset: (fromIndex + n) * CHUNK_BYTES,
          lengthBytes: CHUNK_BYTES,
          crc32: 1,
          replicas: [
            {
              worker: "worker-1",
              url: "http://127.0.0.1:1",
              zone: "a",
              state: "good",
              workerState: "live",
              reason: null,
            },
          ],
          decision: { atLogTime: 0, rule: "zones", candidates: [{ workerId: "worker-1", score: 1 }] },
          repair: null,
        })),
        now: null,
        next: end < count ? end : null,
      };
    },
    async describeReplica(_url, chunkId) {
      refuseIfToldTo();
      throw new Refusal("NO_SUCH_CHUNK", `No chunk ${chunkId} here`);
    },
    async clusterState() {
      refuseIfToldTo();
      return memory.cluster;
    },
    async viewMasters() {
      const { leader, term, masters: known } = memory.cluster;
      const of = (role: string) => ({ role, member: "voter" as const, leader, lastIndex: 1, stateAgeMs: 0 });
      return { leader, term, masters: known.map((master) => ({ ...master, ...of(master.role) })) };
    },
    async orderMasters(order) {
      if ("remove" in order && !memory.cluster.masters.some(({ id }) => id === order.remove))
        throw new Refusal("NO_SUCH_MASTER", `${order.remove} does not belong to the masters`);
      return operations.viewMasters();
    },
    backup: async () => new Response("a backup").body as ReadableStream<Uint8Array>,
    async setWorkerMode(workerId, mode) {
      refuseIfToldTo();
      const worker = memory.cluster.workers.find(({ id }) => id === workerId);
      if (worker) worker.mode = mode;
    },
  };

  const memory: MemoryDataPath = {
    transfers,
    namespace,
    operations,
    as: () => memory,
    files,
    refusal: null,
    cluster: clusterOf(3),
    maxUploads: 100,
    ready: async () => memory.refusal === null,
    close: async () => {},
  };
  return memory;
}

function streamBlocks(contents: Bytes[]): ReadableStream<Uint8Array> {
  const pieces = contents.flatMap((content) =>
    Array.from({ length: Math.ceil(content.length / BLOCK_BYTES) }, (_, n) =>
      content.slice(n * BLOCK_BYTES, (n + 1) * BLOCK_BYTES),
    ),
  );
  return new ReadableStream<Uint8Array>(
    {
      pull(controller) {
        const piece = pieces.shift();
        if (piece) controller.enqueue(piece);
        else controller.close();
      },
    },
    { highWaterMark: 0 },
  );
}

function clusterOf(workerCount: number): ClusterStateAnswer {
  return {
    clusterId: "memory",
    leader: "master-1",
    term: 1,
    masters: [
      { id: "master-1", url: "http://127.0.0.1:1", role: "leader", term: 1, commitIndex: 1, appliedIndex: 1, lag: 0 },
    ],
    steward: "steady",
    workers: Array.from({ length: workerCount }, (_, n) => ({
      id: `worker-${n + 1}`,
      url: `http://127.0.0.1:${n + 1}`,
      zone: "a",
      state: "live",
      mode: "active" as const,
      condition: "normal" as const,
      capacityBytes: 1000,
      freeBytes: 500,
      trashBytes: 0,
      chunks: 1,
      lastHeardMs: 1,
      chunksAtRiskIfStopped: 0,
    })),
    files: { files: 0, directories: 0, bytes: 0 },
    redundancy: { chunks: 1, full: 1, below: { "2": 0, "1": 0, "0": 0 } },
    repairs: [],
    repairQueue: 0,
    garbage: 0,
    reasons: [],
  };
}
