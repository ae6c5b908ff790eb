/** The control plane in the name of one principal: the cluster's state, and an operator's orders to masters and workers. */
import { Refusal } from "../../actors/messages/errors.ts";
import type { WorkerMode } from "../../actors/messages/primitives.ts";
import { refusalOf } from "../../actors/node/http/answers.ts";
import { stream } from "../../actors/node/http/request.ts";
import { isRefusedAsNode } from "../../actors/node/messaging/outbox.ts";
import type { Principal } from "../access/principal.ts";
import { asOurFault } from "../ports/inner-refusal.ts";
import type { MastersOrder, Operations } from "../ports/operations.ts";
import type { MasterClient } from "./master-client.ts";
import { askMasters } from "./master-group.ts";
import type { Patience } from "./patience.ts";
import type { WorkerClients } from "./worker-client.ts";

const DESCRIBE_PATIENCE_MS = 1000;

export class ClusterOperations implements Operations {
  readonly #masters: MasterClient;
  readonly #workers: WorkerClients;
  readonly #by: Principal;

  constructor(masters: MasterClient, workers: WorkerClients, by: Principal) {
    this.#masters = masters;
    this.#workers = workers;
    this.#by = by;
  }

  explain(path: string, fromIndex: number, limit: number) {
    return this.#masters.ask({ type: "EXPLAIN", path, fromIndex, limit });
  }

  describeReplica(workerUrl: string, chunkId: number) {
    return this.#workers.describeAt(workerUrl, chunkId, DESCRIBE_PATIENCE_MS);
  }

  clusterState(patience: Patience = {}) {
    return this.#masters.clusterState(patience);
  }

  viewMasters() {
    return askMasters(this.#masters.identity, this.#masters.search.masters);
  }

  async orderMasters(order: MastersOrder) {
    const masters = this.#masters;
    if ("transfer" in order) await masters.ask({ type: "TRANSFER_LEADERSHIP", to: order.transfer });
    else if ("add" in order)
      await masters.ask({ type: "CHANGE_MASTERS", change: "addLearner", id: order.add, url: order.url });
    else await masters.ask({ type: "CHANGE_MASTERS", change: "remove", id: order.remove, url: null });
    if ("add" in order) masters.search.masters.set(order.add, order.url);
    return this.viewMasters();
  }

  /** @throws NO_LEADER also when the leader can be reached by a detour only, because the stream takes none */
  async backup(signal: AbortSignal) {
    const { identity, search } = this.#masters;
    // Finds the leader first: the stream itself follows no hints.
    await this.clusterState();
    const url = search.leaderUrl;
    if (url === null) throw new Refusal("NO_LEADER", "The leader does not answer this gateway; ask another gateway");
    const path = "/raft/backup";
    const headers = { authorization: identity.credentials.sign("GET", path, "") };
    const response = await stream(`${url}${path}`, { headers, signal }).catch((cause) => {
      throw new Refusal("NO_LEADER", `${url} cannot be reached: ${(cause as Error).message}`);
    });
    if (response.ok && response.body) return response.body as ReadableStream<Uint8Array>;
    const refusal = await refusalOf(response, url);
    throw isRefusedAsNode(refusal) ? asOurFault(refusal, url) : refusal;
  }

  async setWorkerMode(workerId: string, mode: WorkerMode, { idempotencyKey }: { idempotencyKey?: string } = {}) {
    await this.#masters.execute({ type: "SET_WORKER_MODE", workerId, mode }, { by: this.#by, idempotencyKey });
  }
}
