/**
 * Every reason for a refusal, by its stable code. Nodes and the REST gateway use the same codes. A code is never
 * renamed. `status` is the HTTP status, `next` tells the person who gets the refusal what to do.
 */
export const ErrorCodes = {
  // the request
  INVALID_MESSAGE: { status: 400, next: "The message does not fit its schema; see details." },
  INVALID_PATH: {
    status: 400,
    next: "Use UTF-8 segments separated by /, up to 4096 bytes, none empty, . or .., no NUL.",
  },
  INVALID_PARAMETER: { status: 400, next: "Correct the named parameter; /openapi lists what is allowed." },
  INVALID_HEADER: { status: 400, next: "Correct the named header." },
  INVALID_BODY: { status: 400, next: "Send the body that /openapi describes." },
  BODY_INCOMPLETE: { status: 400, next: "The body ended early and nothing was stored. Send it again." },
  DIGEST_MISMATCH: {
    status: 400,
    next: "The bytes that arrived do not match the digest in the request. Send them again.",
  },
  METADATA_TOO_LARGE: { status: 431, next: "Send fewer or shorter x-meta- headers." },
  PAYLOAD_TOO_LARGE: { status: 413, next: "Send less in one request." },
  UNSUPPORTED_MEDIA_TYPE: { status: 415, next: "Use the content type that /openapi names." },
  METHOD_NOT_ALLOWED: { status: 405, next: "Use a method that the Allow header lists." },
  RANGE_NOT_SATISFIABLE: { status: 416, next: "Ask for a range inside the size that Content-Range tells." },
  CROSS_SITE: {
    status: 403,
    next: "Another site's page may not change files here; call from a program or this origin.",
  },
  WRONG_HOST: {
    status: 403,
    next: "Without a token only localhost and 127.0.0.1 are answered; start the gateway with DFS_GATEWAY_TOKEN.",
  },
  NO_SUCH_ROUTE: { status: 404, next: "See /openapi for the routes." },
  // the namespace
  NO_SUCH_FILE: { status: 404, next: "Check the path; GET /files?prefix= lists what is there." },
  NO_SUCH_UPLOAD: { status: 404, next: "The upload was committed, aborted or has expired; start a new one." },
  NO_SUCH_WORKER: { status: 404, next: "GET /cluster lists the workers." },
  NO_SUCH_CHUNK: { status: 404, next: "The chunk is not on this worker." },
  IS_A_DIRECTORY: { status: 409, next: "Name a file, or use ?recursive=true to delete a directory." },
  NOT_A_DIRECTORY: { status: 409, next: "A part of the path is a file; delete or rename it first." },
  ALREADY_EXISTS: { status: 409, next: "Choose another name, or allow overwriting." },
  DIRECTORY_NOT_EMPTY: { status: 409, next: "Use ?recursive=true to delete it with all that is in it." },
  RENAME_INTO_ITSELF: { status: 409, next: "A directory cannot move below itself." },
  TOO_MANY_ENTRIES: { status: 409, next: "Copy the directory in smaller parts." },
  PRECONDITION_FAILED: { status: 412, next: "The file is not in the state that the request demanded; read it again." },
  NOT_MODIFIED: { status: 304, next: "" },
  NO_SUCH_MASTER: { status: 404, next: "GET /cluster/masters lists the masters." },
  MASTERS_UNCHANGED: {
    status: 409,
    next: "GET /cluster/masters lists the masters and how far each one is; try again when the reason is gone.",
  },
  VERSION_TOO_LOW: {
    status: 503,
    next: "Update all masters; the cluster's version rises once each of them knows the new one.",
  },
  // uploads
  UPLOAD_OFFSET_MISMATCH: { status: 409, next: "HEAD the upload and go on from its Upload-Offset." },
  UPLOAD_BUSY: { status: 409, next: "The request that was writing before is still ending; try again in a moment." },
  // 400, because tus clients repeat a request after a 409: two of them would take the upload from each other for ever.
  UPLOAD_TAKEN_OVER: {
    status: 400,
    next: "A newer request writes to this upload. If it is not yours, HEAD the upload and go on from its Upload-Offset.",
  },
  UPLOAD_CHECKSUM_MISMATCH: {
    status: 460,
    next: "The bytes were damaged on their way and are not kept. Send them again.",
  },
  UNSUPPORTED_TUS_VERSION: { status: 412, next: "Send Tus-Resumable: 1.0.0." },
  GRANT_EXPIRED: { status: 409, next: "The upload took longer than its lease without a sign of life. Start it again." },
  CHUNK_ALREADY_COMMITTED: { status: 409, next: "This chunk belongs to a file already." },
  CHUNK_IDS_USED_UP: {
    status: 507,
    next: "These masters have handed out all their 2^40 chunk ids, and no id twice: what is there stays; write to another cluster.",
  },
  TOO_FEW_REPLICAS: { status: 503, next: "Too few workers hold the data; try again when /cluster shows more." },
  // the cluster's state
  NOT_ENOUGH_WORKERS: { status: 503, next: "Start more workers or free space; /cluster says which are out and why." },
  CONTENT_NOT_TAKEN: {
    status: 503,
    next: "The metadata takes no bytes of this file; the gateway stores it through workers.",
  },
  NO_LEADER: {
    status: 503,
    next: "No master leads. Try again in a moment, or start the masters that are down; GET /cluster/masters shows each one.",
  },
  NOT_LEADER: { status: 421, next: "Ask the master in details.leaderUrl." },
  NOT_READY: { status: 503, next: "The node is starting or stopping. Ask another, or this one again in a moment." },
  CLOCKS_DIFFER: {
    status: 503,
    next: "Set the clocks of the machines (NTP). Two nodes may differ by five minutes; details.aheadMs says by how much they do.",
  },
  SECRETS_DIFFER: {
    status: 503,
    next: "Give this gateway the cluster.secret of the other nodes, and start it again; details.by names the node that refuses it.",
  },
  NODES_DISAGREE: {
    status: 503,
    next: "A node refuses the messages of this gateway. Check that both belong to one cluster and run compatible programs; details.cause is the node's reason.",
  },
  OVERLOADED: { status: 503, next: "Try again after the time in Retry-After." },
  DATA_UNAVAILABLE: { status: 503, next: "No good copy can be reached now; ?explain shows where they are." },
  TIMEOUT: { status: 504, next: "The outcome is unknown; look before you send it again." },
  OUTCOME_UNKNOWN: { status: 504, next: "The change may or may not have happened; look before you send it again." },
  SESSION_EXPIRED: { status: 409, next: "Open a new session; the command was not applied." },
  STALE_SEQUENCE: { status: 409, next: "This command was acknowledged long ago." },
  // the console
  NO_SUCH_RECORD: {
    status: 404,
    next: "The record never existed, or is older than the records that are kept; see /console/api/records.",
  },
  NO_SUCH_NODE: { status: 404, next: "GET /console/api/nodes lists the nodes." },
  BAD_RECORDING: { status: 400, next: "The file is damaged or is not a recording; export it again." },
  UNKNOWN_RECORDING_VERSION: {
    status: 400,
    next: "Another version of this program made the recording; open it with that version.",
  },
  NOT_RECORDING: { status: 409, next: "Set recording.enabled in config.json, and start the nodes again." },
  DRILLS_NOT_ALLOWED: { status: 403, next: "Drills need `drills: true` in config.json and nodes run by `npm start`." },
  DRILL_UNDER_WAY: { status: 409, next: "Wait until the drill under way has ended." },
  // between nodes
  UNAUTHENTICATED: { status: 401, next: "The request must be signed with the cluster secret." },
  WRONG_CLUSTER: { status: 403, next: "This node belongs to another cluster." },
  WRONG_NODE: { status: 403, next: "Another worker with this id is alive; give each its own id and data directory." },
  DEAD_MASTER: {
    status: 403,
    next: "This id belongs to another data directory. Remove the master, and start it under a new id with --join.",
  },
  UNKNOWN_WORKER: { status: 404, next: "Register first." },
  WRONG_SENDER: { status: 403, next: "This node may not send such a message; the details say which nodes may." },
  IMPLAUSIBLE_TERM: {
    status: 409,
    next: 'No election reaches this term from the known one, so something else wrote it. actors/master/README.md, "A term that no election reaches", says what to do.',
  },
  STALE_TERM: { status: 409, next: "A newer leader exists; this order is void." },
  ORDER_EXPIRED: { status: 409, next: "The order came too late and is void; the leader decides anew." },
  CHECKSUM_MISMATCH: { status: 422, next: "The block was damaged on its way; send it again." },
  CHUNK_SEALED: { status: 409, next: "Sealed chunks never change." },
  CHUNK_INCOMPLETE: { status: 409, next: "Blocks are missing; details name the first." },
  CHUNK_CORRUPT: { status: 422, next: "This copy is bad and was quarantined; read another." },
  NO_SPACE: { status: 507, next: "The worker's disk is full; place the chunk elsewhere." },
  READ_ONLY: { status: 507, next: "The worker's disk refuses writes; see its log." },
  SOURCE_UNAVAILABLE: { status: 502, next: "No source of the copy could be read." },
  PEER_UNREACHABLE: { status: 502, next: "The next node did not answer." },
  INTERNAL: { status: 500, next: "This is a fault of the program; the node's log has the details." },
} as const satisfies Record<string, { status: number; next: string }>;

export type ErrorCode = keyof typeof ErrorCodes;

/** What the requester did wrong or the world does not allow. A fault of this program breaks an invariant instead. */
export class Refusal extends Error {
  override name = "Refusal";
  constructor(
    readonly code: ErrorCode,
    message: string,
    readonly details: Record<string, unknown> = {},
  ) {
    super(message);
  }
  get status(): number {
    return ErrorCodes[this.code].status;
  }
}

export const isErrorCode = (code: string): code is ErrorCode => Object.hasOwn(ErrorCodes, code);

/** Whether a change may have happened or not: its sender must look, or send it again under the same key. */
export const isOutcomeUnknown = (error: unknown): boolean =>
  error instanceof Refusal && error.code === "OUTCOME_UNKNOWN";
