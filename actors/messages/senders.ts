/**
 * Which node may send which message, in one place. A node knows another by the id that signed. All nodes sign with one
 * shared secret, so this stops mistakes, and nodes that go wrong under their own id. It does not stop a thief of the
 * secret.
 */
import type { MasterMailbox } from "./master.ts";
import type { RecordsMailbox } from "./records.ts";
import type { WorkerMailbox } from "./worker.ts";

/**
 * What the receiver knows of the id that signed. A `stranger` is unknown to it: a gateway that config.json does not
 * list, a tool that speaks for a gateway, a worker before it has registered, a master that was added a moment ago.
 * Workers know only the workers of config.json, so to them every worker that joined since is a stranger too.
 */
export type Role = "master" | "worker" | "gateway" | "stranger";

export interface Senders {
  from: readonly Role[];
  /** The field that names the sender, so that no node speaks for another. */
  names?: "workerId" | "gatewayId";
  /** The message carries another one, which the sender, or the node that this field names, must be allowed to send. */
  carriesFor?: "sender" | "gatewayId";
}

const clients = ["gateway", "stranger"] as const;
/** A master that rebuilds its state fetches the leader's. */
const copiers = ["gateway", "stranger", "master"] as const;
const anyone = ["master", "worker", "gateway", "stranger"] as const;
/** A master that was added a moment ago is still a stranger to some, and must be heard (dissertation §4.1). */
const masters = ["master", "stranger"] as const;
const workers = ["worker", "stranger"] as const;
/** Gateways write and read chunks, workers pass them on and copy them. */
const holders = ["gateway", "worker", "stranger"] as const;
const leader = ["master"] as const;

type Messages = typeof MasterMailbox & typeof WorkerMailbox & typeof RecordsMailbox;

export const MESSAGE_SENDERS = {
  EXECUTE: { from: clients },
  PLACE_CHUNKS: { from: clients, names: "gatewayId" },
  REPLACE_WORKERS: { from: clients },
  STAT: { from: clients },
  LOCATE: { from: clients },
  LIST: { from: clients },
  UPLOAD_STATUS: { from: clients },
  EXPLAIN: { from: clients },
  REPORT_REPLICA: { from: clients },
  CLUSTER_STATE: { from: clients },
  REGISTER: { from: workers, names: "workerId" },
  HEARTBEAT: { from: workers, names: "workerId" },
  RECONCILE: { from: workers, names: "workerId" },
  MASTER_STATUS: { from: anyone },
  CHANGE_MASTERS: { from: clients },
  TRANSFER_LEADERSHIP: { from: clients },
  READ_INDEX: { from: masters },
  PASS_ON: { from: clients, carriesFor: "sender" },
  PASSED_ON: { from: masters, carriesFor: "gatewayId" },
  RAFT: { from: masters },
  SEAL_CHUNK: { from: clients },
  PUT_SMALL_CHUNKS: { from: clients },
  ABORT_CHUNK: { from: clients },
  DESCRIBE_CHUNK: { from: anyone },
  COPY_CHUNK: { from: leader },
  TRASH_CHUNKS: { from: leader },
  VERIFY_CHUNK: { from: leader },
  RECORDS_AFTER: { from: clients },
  MACHINE_STATES: { from: clients },
  MACHINES: { from: clients },
  CUT_LINK: { from: clients },
} as const satisfies { [Type in keyof Messages]: Senders };

export const ROUTE_SENDERS = {
  "PUT /chunks/{id}/blocks/{n}": { from: holders },
  "GET /chunks/{id}/blocks/{n}": { from: holders },
  "GET /raft/snapshots/{index}": { from: masters },
  "GET /raft/backup": { from: copiers },
} as const satisfies Record<string, Senders>;
