/** The shape of `config.json`, and so what each key means, its unit and its bounds. */
import { type Static, Type } from "@sinclair/typebox";
import { MAX_TINY_BYTES, NodeId, Url } from "./primitives.ts";

const Ms = (description: string, minimum: number, maximum: number) => Type.Integer({ minimum, maximum, description });

const MasterNode = Type.Object({ id: NodeId, url: Url }, { additionalProperties: false });
const WorkerNode = Type.Object(
  {
    id: NodeId,
    url: Url,
    zone: Type.String({ pattern: "^[A-Za-z0-9._-]{1,64}$", description: "copies are spread over zones" }),
    capacityBytes: Type.Optional(
      Type.Integer({ minimum: 1 << 20, description: "the worker uses at most this much; default: the whole disk" }),
    ),
    diskWrites: Type.Optional(
      Type.Union([Type.Literal("direct"), Type.Literal("buffered")], {
        description:
          "`direct`: blocks of 128 KiB and more go past the page cache, where the file system takes that; `buffered`: all go through it; default: buffered",
      }),
    ),
  },
  { additionalProperties: false },
);
const GatewayNode = Type.Object({ id: NodeId, url: Url }, { additionalProperties: false });

const LOG_LEVELS: ("debug" | "info" | "warn" | "error" | "silent")[] = ["debug", "info", "warn", "error", "silent"];

export const Config = Type.Object(
  {
    masters: Type.Array(MasterNode, {
      minItems: 1,
      maxItems: 7,
      description: "keep the metadata; an odd number, usually 1 or 3",
    }),
    workers: Type.Array(WorkerNode, {
      maxItems: 1000,
      description: "store the chunks; further workers may join a running cluster without being listed",
    }),
    gateways: Type.Array(GatewayNode, { maxItems: 100, description: "offer REST; all are equal" }),
    dataDirectory: Type.String({
      minLength: 1,
      description: "holds one folder per node, named by its id; relative to config.json",
    }),
    chunkSizeBytes: Type.Integer({
      minimum: 1 << 16,
      maximum: 2 ** 32,
      description: "a file is cut into chunks of this size",
    }),
    blockSizeBytes: Type.Integer({
      minimum: 1 << 12,
      maximum: 1 << 24,
      description: "unit of transfer and of checksums",
    }),
    inlineChunkBytes: Type.Integer({
      minimum: 0,
      maximum: 1 << 20,
      description: "chunks up to this size lie in the worker's SQLite database, where many share one flush",
    }),
    tinyFileBytes: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: MAX_TINY_BYTES,
        description:
          "files up to this size lie in the metadata, on every master's disk, while there are at least as many masters as the file wants copies; 0 = none; left out: 4096",
      }),
    ),
    tinyTotalBytes: Type.Optional(
      Type.Integer({
        minimum: 0,
        description:
          "when so many bytes of tiny files lie in the metadata, new ones go to workers; copies of those that are there go past it. Left out: 2 GiB",
      }),
    ),
    replicationFactor: Type.Integer({
      minimum: 1,
      maximum: 16,
      description: "copies of every chunk, unless the file's own request says otherwise",
    }),
    minReplicas: Type.Integer({
      minimum: 1,
      maximum: 16,
      description: "copies that are on disk before a write is acknowledged",
    }),
    route: Type.Union([Type.Literal("auto"), Type.Literal("fanout"), Type.Literal("chain")], {
      description:
        "how blocks reach their workers: each from the gateway (`fanout`), from worker to worker (`chain`), or chosen per block (`auto`)",
    }),
    blocksInFlight: Type.Integer({
      minimum: 1,
      maximum: 64,
      description: "blocks that one upload sends at the same time",
    }),
    readAheadBytes: Type.Integer({
      minimum: 4096,
      maximum: 256 << 20,
      description: "bytes that one download fetches ahead of its reader while memory allows; at least one block",
    }),
    heartbeatMs: Ms("each worker sends a heartbeat this often", 20, 60_000),
    suspectAfterMs: Ms("a worker that is silent for this long gets no new chunks", 50, 600_000),
    deadAfterMs: Ms("the copies of a worker that is silent for this long no longer count", 100, 3_600_000),
    safeModeMs: Ms(
      "a new leader neither repairs nor deletes for this long, so that workers can report first",
      0,
      3_600_000,
    ),
    uploadLeaseMs: Ms("an upload that stores no new bytes for this long is thrown away", 1000, 604_800_000),
    raft: Type.Object(
      {
        heartbeatMs: Ms("the leading master sends the others a beat this often", 10, 10_000),
        electionMs: Ms(
          "silence of the leader after which another master stands for election; at least five beats",
          100,
          60_000,
        ),
        keepEntries: Type.Integer({
          minimum: 10,
          maximum: 10_000_000,
          description:
            "applied log entries that are kept; a master that missed more gets a copy of the whole state instead",
        }),
        cacheBytes: Type.Optional(
          Type.Integer({
            minimum: 1 << 20,
            maximum: 2 ** 40,
            description:
              "memory in which a master keeps pages of the metadata, taken as they are read; default: an eighth of the machine's, at most 2 GiB",
          }),
        ),
        maxStaleMs: Ms(
          "greatest age of an answer that a master without leadership gives to `consistency=eventual`",
          300,
          3_600_000,
        ),
      },
      { additionalProperties: false },
    ),
    repair: Type.Object(
      {
        maxConcurrent: Type.Integer({
          minimum: 1,
          maximum: 1000,
          description: "copies at the same time in the whole cluster",
        }),
        maxPerWorker: Type.Integer({
          minimum: 1,
          maximum: 100,
          description: "copies at the same time per source, and per target",
        }),
        bytesPerSecond: Type.Integer({
          minimum: 0,
          description:
            "pace of one copy, so a worker sends or receives at most `maxPerWorker` times this, the cluster `maxConcurrent` times this; 0 = unlimited",
        }),
        massSilenceMs: Ms(
          "repairs wait this long at most when a whole zone or very many workers fall silent at once",
          0,
          86_400_000,
        ),
      },
      { additionalProperties: false },
    ),
    trash: Type.Object(
      {
        keepMs: Ms("deleted chunks stay in the trash this long; shorter if the disk runs short", 0, 2_592_000_000),
        deleteGraceMs: Ms(
          "the chunks of a deleted file stay in place this long, for downloads that are under way",
          0,
          86_400_000,
        ),
      },
      { additionalProperties: false },
    ),
    scrub: Type.Object(
      {
        intervalMs: Ms("every chunk is read back and checked this often", 1000, 31_536_000_000),
        bytesPerSecond: Type.Integer({ minimum: 1 << 10, description: "greatest pace of these checks" }),
      },
      { additionalProperties: false },
    ),
    limits: Type.Object(
      {
        reservedBytes: Type.Integer({ minimum: 0, description: "a worker with less free disk than this is full" }),
        maxUploads: Type.Integer({
          minimum: 1,
          maximum: 10_000,
          description: "uploads at once per gateway; further ones get 503",
        }),
        maxDownloads: Type.Integer({
          minimum: 1,
          maximum: 10_000,
          description: "downloads at once per gateway; further ones get 503",
        }),
        maxUserMetadataBytes: Type.Integer({
          minimum: 0,
          maximum: 65_536,
          description: "names and values of one file's `x-meta-` and standard headers together",
        }),
        bufferBytes: Type.Integer({
          minimum: 1 << 20,
          description: "memory of a gateway for the blocks of all transfers: half for uploads, half for downloads",
        }),
      },
      { additionalProperties: false },
    ),
    recording: Type.Object(
      {
        enabled: Type.Boolean({ description: "every node records the steps of its state machines, for the console" }),
        keepRecords: Type.Integer({
          minimum: 1000,
          maximum: 10_000_000,
          description: "records that a node keeps; the oldest go first",
        }),
      },
      { additionalProperties: false },
    ),
    drills: Type.Boolean({
      description: "lets the console kill, freeze and cut off nodes, only those that `npm start` runs on this machine",
    }),
    restart: Type.Optional(
      Type.Boolean({
        description: "`npm start` starts a node again that ended by itself, at most six times in a row",
      }),
    ),
    logLevel: Type.Union(
      LOG_LEVELS.map((level) => Type.Literal(level)),
      { description: "lowest level that a node writes to its log" },
    ),
  },
  { additionalProperties: false },
);
export type Config = Static<typeof Config>;
