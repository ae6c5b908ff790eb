/** How a gateway keeps the leases of its chunk ids, on a clock that the test turns. */
import { afterEach, expect, spyOn, test } from "bun:test";
import type { Command } from "../../actors/messages/commands.ts";
import { Refusal } from "../../actors/messages/errors.ts";
import { createLogger } from "../../actors/node/log.ts";
import { Grants } from "../../gateway/nodes/grants.ts";
import type { MasterClient } from "../../gateway/nodes/master-client.ts";
import type { WorkerClients } from "../../gateway/nodes/worker-client.ts";

const LEASE_MS = 60_000;
const restores: (() => void)[] = [];
afterEach(() => {
  for (const restore of restores.splice(0)) restore();
});

function gateway() {
  let now = 0;
  let keepHouse = () => {};
  const clock = spyOn(performance, "now").mockImplementation(() => now);
  const timer = spyOn(globalThis, "setInterval").mockImplementation(((callback: () => void) => {
    keepHouse = callback;
    return { unref: () => {} };
  }) as never);
  restores.push(
    () => clock.mockRestore(),
    () => timer.mockRestore(),
  );
  const commands: Command[] = [];
  const leader = { answer: async () => {}, place: (_exclude: string[]) => [["worker-1", "worker-2"]] };
  let grantId = 1;
  let asked = 0;
  const masters = {
    ask: async ({ exclude }: { exclude: string[] }) => {
      // One that asks on and on in microtasks would never let the test fail.
      if (++asked > 20) throw new Error("asked for ever");
      return { grantId, firstChunkId: grantId++, leaseMs: LEASE_MS, placements: leader.place(exclude), workers: [] };
    },
    search: { begin: () => null },
    execute: async (command: Command) => {
      commands.push(command);
      await leader.answer();
    },
  } as unknown as MasterClient;
  const failed = new Set<string>();
  const workers = {
    avoided: () => Object.fromEntries([...failed].map((id) => [id, "failed"])),
    isAvoided: (id: string) => failed.has(id),
    learn: () => {},
    get failureCount() {
      return failed.size;
    },
  } as unknown as WorkerClients;
  const grants = new Grants("gateway-1", masters, workers, createLogger("test", "silent" as "debug"));
  return {
    grants,
    leader,
    failed,
    asked: () => asked,
    sent: () => commands.splice(0).map(({ type }) => type),
    async second(count = 1) {
      for (let n = 0; n < count; n++) {
        now += 1000;
        keepHouse();
        await Promise.resolve();
      }
      for (let n = 0; n < 10; n++) await Promise.resolve();
    },
  };
}

const copies = { replicationFactor: 2, minReplicas: 2 };

test("a grant in use is renewed at a third of its lease, and given back when it has no more use", async () => {
  const { grants, second, sent } = gateway();
  const placed = await grants.place(1, copies, false);
  await second(20);
  expect(sent()).toEqual([]);
  await second();
  expect(sent()).toEqual(["RENEW_GRANTS"]);
  placed.release();
  await second();
  expect(sent()).toEqual(["CLOSE_GRANTS"]);
});

test("a renewal that failed is tried again a second later, and not when the next would be due", async () => {
  const { grants, leader, second, sent } = gateway();
  await grants.place(1, copies, false);
  leader.answer = () => Promise.reject(new Refusal("NO_LEADER", "nobody"));
  await second(21);
  expect(sent()).toEqual(["RENEW_GRANTS"]);
  await second();
  expect(sent()).toEqual(["RENEW_GRANTS"]);
  leader.answer = async () => {};
  await second(2);
  expect(sent()).toEqual(["RENEW_GRANTS"]);
});

test("while the masters are silent one renewal waits for them, and no second one", async () => {
  const { grants, leader, second, sent } = gateway();
  await grants.place(1, copies, false);
  const silence = Promise.withResolvers<void>();
  leader.answer = () => silence.promise;
  await second(30);
  expect(sent()).toEqual(["RENEW_GRANTS"]);
  silence.resolve();
  await second(2);
  expect(sent()).toEqual([]);
});

test("a worker that failed is placed on again when the leader has no other, and the leader is not asked for ever", async () => {
  const { grants, leader, failed, asked } = gateway();
  failed.add("worker-2");
  leader.place = (exclude) => {
    if (exclude.length > 0) throw new Refusal("NOT_ENOUGH_WORKERS", "one is excluded");
    return [["worker-1", "worker-2"]];
  };
  expect((await grants.placeSmall(4096, copies)).workerIds).toEqual(["worker-1", "worker-2"]);
  expect(asked()).toBeLessThan(6);
});

test("places on a worker that fails after they were granted are dropped, and others are asked for", async () => {
  const { grants, leader, failed } = gateway();
  leader.place = (exclude) =>
    exclude.includes("worker-2") ? [["worker-1", "worker-3"]] : Array(3).fill(["worker-1", "worker-2"]);
  expect((await grants.placeSmall(4096, copies)).workerIds).toEqual(["worker-1", "worker-2"]);
  failed.add("worker-2");
  expect((await grants.placeSmall(4096, copies)).workerIds).toEqual(["worker-1", "worker-3"]);
});

test("a leader that grants nothing is told, not asked for ever", async () => {
  const { grants, leader, asked } = gateway();
  leader.place = () => [];
  expect(await grants.placeSmall(4096, copies).catch(({ code }) => code)).toBe("INTERNAL");
  expect(asked()).toBe(1);
});
