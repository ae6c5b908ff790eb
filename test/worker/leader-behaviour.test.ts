/** What a leader answers a worker: the same suite for the shipped one and for the stand-in that workers are tried with. */

import { afterAll, describe, expect, test } from "bun:test";
import type { MasterMailbox } from "../../actors/messages/master.ts";
import { sharedSecret } from "../../actors/node/identity/signature.ts";
import type { MessageOf } from "../../actors/node/messaging/mailbox.ts";
import { send } from "../../actors/node/messaging/outbox.ts";
import { inventoryDigest } from "../../actors/rules/redundancy/inventory-digest.ts";
import { codeOf } from "../support/codes.ts";
import { GatewayCluster, SECRET } from "../support/gateway-cluster.ts";
import { StandInMaster } from "../support/stand-in-master.ts";
import { freeUrl } from "./support.ts";

interface Leader {
  url: string;
  stop(): Promise<void>;
}

const LEADERS: Record<string, () => Promise<Leader>> = {
  "the shipped leader": async () => {
    const cluster = await new GatewayCluster({ workers: 1 }).up();
    return { url: cluster.config.masters[0]?.url as string, stop: () => cluster.stop() };
  },
  "the stand-in": async () => new StandInMaster(freeUrl(), SECRET),
};

type Mailbox = typeof MasterMailbox;
const WORKER = { incarnation: "first-disk", epoch: 1 };

for (const [name, open] of Object.entries(LEADERS))
  describe(`to a worker ${name}`, async () => {
    const leader = await open();
    afterAll(() => leader.stop());
    const ask = <T extends keyof Mailbox>(workerId: string, message: MessageOf<Mailbox, T> & { type: T }) =>
      send<Mailbox, T>(
        { nodeId: workerId, credentials: sharedSecret(workerId, SECRET), clusterId: () => null },
        leader.url,
        message,
      );
    const url = freeUrl();
    const register = (workerId: string, clusterId: string | null = null) =>
      ask<"REGISTER">(workerId, {
        ...{ type: "REGISTER", workerId, ...WORKER, url, zone: "z", clusterId },
        ...{ capacityBytes: 1000, freeBytes: 900 },
      });
    const beat = (workerId: string, badReplicas: MessageOf<Mailbox, "HEARTBEAT">["badReplicas"] = []) =>
      ask<"HEARTBEAT">(workerId, {
        ...{ type: "HEARTBEAT", workerId, ...WORKER, condition: "normal", mode: "active" },
        ...{ capacityBytes: 1000, freeBytes: 900, trashBytes: 0, chunkCount: 0, openChunks: 0, load: 0 },
        ...{ copying: [], badReplicas, idleOpenChunks: [] },
      });

    test("answers a registration with cluster, term, mode and rhythm, and a heartbeat with the same term and mode", async () => {
      const registered = await register("worker-7");
      expect(registered).toMatchObject({ clusterId: expect.any(String), mode: "active" });
      expect(registered.term).toBeGreaterThanOrEqual(1);
      expect(registered.heartbeatMs).toBeGreaterThan(0);
      const { term, mode } = registered;
      expect(await beat("worker-7")).toMatchObject({ term, mode, acknowledged: [], discard: [] });
    });

    test("acknowledges every copy that a heartbeat reports as bad, and nothing else", async () => {
      await register("worker-7");
      const bad = [
        { chunkId: 5001, state: "corrupt" as const },
        { chunkId: 5002, state: "missing" as const },
      ];
      expect((await beat("worker-7", bad)).acknowledged).toEqual([5001, 5002]);
      expect((await beat("worker-7")).acknowledged).toEqual([]);
    });

    test("refuses the heartbeat of a worker that has not registered", async () => {
      expect(await codeOf(beat("worker-8"))).toBe("UNKNOWN_WORKER");
    });

    test("refuses a worker with data of another cluster, and takes it with data of its own", async () => {
      expect(await codeOf(register("worker-7", "another-cluster"))).toBe("WRONG_CLUSTER");
      const { clusterId } = await register("worker-7");
      expect(await codeOf(register("worker-7", clusterId))).toBe("fine");
    });

    test("agrees with an inventory of nothing, and trashes nothing", async () => {
      await register("worker-7");
      const page = { fromId: 0, toId: Number.MAX_SAFE_INTEGER, ...inventoryDigest([]) };
      const message = { type: "RECONCILE" as const, workerId: "worker-7", ...WORKER, ...page, chunks: null };
      expect(await ask<"RECONCILE">("worker-7", message)).toMatchObject({ match: true, trash: [], missing: 0 });
    });
  });
