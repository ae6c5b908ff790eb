/**
 * Who may send what, in one place. A node knows another by the id that signed; until each node has a key of its own, the
 * secret that signs is shared, so this stops mistakes and nodes that go wrong under their own name, not a thief of the
 * secret.
 */
import type { MasterMailbox } from "./master.ts";
import type { RecordsMailbox } from "./records.ts";
import type { WorkerMailbox } from "./worker.ts";

/**
 * What the receiver knows of the id that signed. `stranger`: nothing. A gateway that config.json does not list and the tools
 * that speak for one are strangers, and so are a worker until it has registered, a master that was added a moment ago, and
 * at workers, which know no other workers than those of config.json, every worker that joined since.
 */
export type Role = "master" | "worker" | "gateway" | "stranger";

export interface Senders {
  from: readonly Role[];
  /** The field that names the sender, so that no node speaks for another. */
  names?: "workerId" | "gatewayId";
  /** It holds another message, which the sender, or the node that this field names, must be allowed to send. */
  carriesFor?: "sender" | "gatewayId";
}

const clients = ["gateway", "stranger"] as const;
/** A master that rebuilds its state fetches the leader's. */
const copiers = ["gateway", "stranger", "master"] as const;
const anyone = ["master", "worker", "gateway", "stranger"] as const;
/** A master that was added a moment ago is not known to all, and must be heard (dissertation §4.1). */
const masters = ["master", "stranger"] as const;
const workers = ["worker", "stranger"] as const;
/** Chunks are written and read by gateways, and passed on and copied by workers. */
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
