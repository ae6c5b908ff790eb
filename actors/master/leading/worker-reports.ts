/** What workers tell a leader: that they are there, how they are, and which of their copies are bad. */
import type { Config } from "../../messages/config.ts";
import { Refusal } from "../../messages/errors.ts";
import type { MasterMailbox } from "../../messages/master.ts";
import type { Clock } from "../../node/clock.ts";
import type { Logger } from "../../node/log.ts";
import type { AnswerOf, MessageOf } from "../../node/messaging/mailbox.ts";
import type { MetadataPort } from "../metadata-port.ts";
import type { Reconciliation } from "./reconciliation.ts";
import type { Steward } from "./steward.ts";
import type { WorkerRegistry } from "./worker-registry.ts";

type Told<T extends keyof typeof MasterMailbox> = MessageOf<typeof MasterMailbox, T>;
type Answered<T extends keyof typeof MasterMailbox> = AnswerOf<typeof MasterMailbox, T>;

interface Parts {
  config: Config;
  clusterId: string;
  metadata: MetadataPort;
  workers: WorkerRegistry;
  steward: Steward;
  reconciliation: Reconciliation;
  clock: Clock;
  log: Logger;
}

export class WorkerReports {
  readonly #parts: Parts;

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** @throws WRONG_CLUSTER, WRONG_NODE */
  async register(message: Told<"REGISTER">): Promise<Answered<"REGISTER">> {
    const { config, clusterId, metadata, workers, log } = this.#parts;
    if (message.clusterId !== null && message.clusterId !== clusterId)
      throw new Refusal(
        "WRONG_CLUSTER",
        `${message.workerId} holds data of cluster ${message.clusterId}; this is ${clusterId}`,
      );
    const { workerId, url, zone, incarnation, capacityBytes, epoch, freeBytes } = message;
    const worker = await workers.register({ id: workerId, url, zone, incarnation, capacityBytes, epoch, freeBytes });
    log.info({ event: "worker-registered", worker: workerId, url, epoch }, "worker registered");
    return {
      clusterId,
      term: metadata.term,
      heartbeatMs: config.heartbeatMs,
      mode: worker.mode,
      leaderTimeMs: this.#leaderTimeMs(),
      masters: metadata.members(),
    };
  }

  /** @throws UNKNOWN_WORKER if it must register first */
  async heartbeat(message: Told<"HEARTBEAT">): Promise<Answered<"HEARTBEAT">> {
    const { metadata, workers, steward, reconciliation } = this.#parts;
    const { workerId, badReplicas, idleOpenChunks } = message;
    const worker = workers.heartbeat(message);
    await steward.markReplicas(badReplicas.map((bad) => ({ ...bad, workerId })));
    return {
      term: metadata.term,
      mode: worker.mode,
      leaderTimeMs: this.#leaderTimeMs(),
      acknowledged: badReplicas.map(({ chunkId }) => chunkId),
      discard: idleOpenChunks.filter(
        (chunkId) => !reconciliation.isGranted(chunkId) && !steward.repairs.isTargetOf(chunkId, workerId),
      ),
    };
  }

  /** A reader could not use a copy: its worker is asked to read it back. */
  replicaReported({ chunkId, workerId, problem, detail }: Told<"REPORT_REPLICA">): Answered<"REPORT_REPLICA"> {
    const { metadata, steward, log } = this.#parts;
    log.warn(
      { event: "replica-reported", chunk: chunkId, worker: workerId, problem, detail },
      "a reader could not use a copy",
    );
    const accepted = metadata.row("chunk", { chunkId })?.workers.includes(workerId) ?? false;
    if (accepted && problem !== "unreachable") void steward.repairs.checkReplica(chunkId, workerId);
    return { accepted };
  }

  /** Monotonic, by this leader's clock: workers bound the age of its orders by it. */
  #leaderTimeMs(): number {
    return Math.floor(this.#parts.clock.now());
  }
}
