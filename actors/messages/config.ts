/** The shape of `config.json`, and so what each key means, its unit and its bounds. */
import { type Static, Type } from "@sinclair/typebox";
import { NodeId, Url } from "./primitives.ts";

const Ms = (description: string, minimum: number, maximum: number) => Type.Integer({ minimum, maximum, description });

const MasterNode = Type.Object({ id: NodeId, url: Url }, { additionalProperties: false });
const WorkerNode = Type.Object(
  {
    id: NodeId,
    url: Url,
    zone: Type.String({ pattern: "^[A-Za-z0-9._-]{1,64}$", description: "copies are spread over zones" }),
    capacityBytes: Type.Optional(
      Type.Integer({ minimum: 1 << 20, description: "use no more than this; default: what the disk has" }),
    ),
  },
  { additionalProperties: false },
);
const GatewayNode = Type.Object({ id: NodeId, url: Url }, { additionalProperties: false });

const LOG_LEVELS: ("debug" | "info" | "warn" | "error" | "silent")[] = ["debug", "info", "warn", "error", "silent"];

export const Config = Type.Object(
  {
    masters: Type.Array(MasterNode, { minItems: 1, maxItems: 7 }),
    workers: Type.Array(WorkerNode, { maxItems: 1000 }),
    gateways: Type.Array(GatewayNode, { maxItems: 100 }),
    dataDirectory: Type.String({ minLength: 1, description: "holds <node-id>/ of each node; relative to config.json" }),
    chunkSizeBytes: Type.Integer({ minimum: 1 << 16, maximum: 2 ** 32, description: "files are cut at this size" }),
    blockSizeBytes: Type.Integer({ minimum: 1 << 12, maximum: 1 << 24, description: "unit of transfer and checksum" }),
    inlineChunkBytes: Type.Integer({
      minimum: 0,
      maximum: 1 << 20,
      description: "chunks up to this size live in the worker's SQLite, so that many share one flush",
    }),
    replicationFactor: Type.Integer({ minimum: 1, maximum: 16 }),
    minReplicas: Type.Integer({
      minimum: 1,
      maximum: 16,
      description: "copies on disk before a write is acknowledged",
    }),
    route: Type.Union([Type.Literal("auto"), Type.Literal("fanout"), Type.Literal("chain")]),
    blocksInFlight: Type.Integer({ minimum: 1, maximum: 64, description: "blocks under way per upload" }),
    readAheadBytes: Type.Integer({
      minimum: 4096,
      maximum: 256 << 20,
      description: "fetched ahead of its reader per download, while there is memory; one block at least",
    }),
    heartbeatMs: Ms("workers report this often", 20, 60_000),
    suspectAfterMs: Ms("silence after which a worker gets no new chunks", 50, 600_000),
    deadAfterMs: Ms("silence after which its copies no longer count", 100, 3_600_000),
    safeModeMs: Ms("grace for workers to report to a new leader before it repairs or deletes", 0, 3_600_000),
    uploadLeaseMs: Ms("an upload without a sign of life is thrown away after this", 1000, 604_800_000),
    raft: Type.Object(
      {
        heartbeatMs: Ms("the leading master tells the others this often that it is there", 10, 10_000),
        electionMs: Ms("silence after which another master stands for election; at least ten beats", 100, 60_000),
        keepEntries: Type.Integer({
          minimum: 10,
          maximum: 10_000_000,
          description:
            "log entries kept behind what is applied; a master that missed more gets a copy of the whole state instead",
        }),
        maxStaleMs: Ms("a master that does not lead answers `consistency=eventual` up to this age", 300, 3_600_000),
      },
      { additionalProperties: false },
    ),
    repair: Type.Object(
      {
        maxConcurrent: Type.Integer({ minimum: 1, maximum: 1000, description: "copies under way in the cluster" }),
        maxPerWorker: Type.Integer({ minimum: 1, maximum: 100, description: "of these, per source and per target" }),
        bytesPerSecond: Type.Integer({
          minimum: 0,
          description:
            "pace of one copy, so at most `maxPerWorker` times this per worker and `maxConcurrent` times this in all; 0 = as fast as it goes",
        }),
        massSilenceMs: Ms(
          "when a whole zone or very many workers fall silent at once, repairs wait this long",
          0,
          86_400_000,
        ),
      },
      { additionalProperties: false },
    ),
    trash: Type.Object(
      {
        keepMs: Ms("deleted chunks stay in the trash this long; less if the disk runs short", 0, 2_592_000_000),
        deleteGraceMs: Ms("a deleted file's chunks stay in place this long, for readers under way", 0, 86_400_000),
      },
      { additionalProperties: false },
    ),
    scrub: Type.Object(
      {
        intervalMs: Ms("every chunk is read back and checked this often", 1000, 31_536_000_000),
        bytesPerSecond: Type.Integer({ minimum: 1 << 10, description: "at most this fast" }),
      },
      { additionalProperties: false },
    ),
    limits: Type.Object(
      {
        reservedBytes: Type.Integer({ minimum: 0, description: "free disk below which a worker is full" }),
        maxUploads: Type.Integer({ minimum: 1, maximum: 10_000, description: "at once, per gateway; then 503" }),
        maxDownloads: Type.Integer({ minimum: 1, maximum: 10_000, description: "at once, per gateway; then 503" }),
        maxUserMetadataBytes: Type.Integer({ minimum: 0, maximum: 65_536 }),
        bufferBytes: Type.Integer({
          minimum: 1 << 20,
          description: "memory for blocks of a gateway, over all transfers: half for uploads, half for downloads",
        }),
      },
      { additionalProperties: false },
    ),
    recording: Type.Object(
      {
        enabled: Type.Boolean({ description: "every node keeps a record of its state machines, for the console" }),
        keepRecords: Type.Integer({ minimum: 1000, maximum: 10_000_000, description: "per node; then the oldest go" }),
      },
      { additionalProperties: false },
    ),
    drills: Type.Boolean({
      description: "may the console kill, freeze and cut nodes; only nodes that `npm start` runs, on this machine",
    }),
    restart: Type.Optional(
      Type.Boolean({
        description: "does `npm start` start a node again that ended by itself; six times in a row at most",
      }),
    ),
    logLevel: Type.Union(LOG_LEVELS.map((level) => Type.Literal(level))),
  },
  { additionalProperties: false },
);
export type Config = Static<typeof Config>;
