/** For operators and their tools, unsigned: is the node alive, is it ready, and what are its figures. */
import { Elysia } from "elysia";
import type { Registry } from "prom-client";
import type { SnapshotFrom } from "xstate";
import { SERVER_OPTIONS } from "../node/http/server-options.ts";
import type { ChunkStore } from "./store/chunk-store.ts";
import type { Disk } from "./store/disk.ts";
import type { workerMachine } from "./worker.machine.ts";

export interface ProbeHost {
  id: string;
  store: ChunkStore;
  disk: Disk;
  metrics: Registry;
  snapshot(): SnapshotFrom<typeof workerMachine>;
}

export function probes(host: ProbeHost) {
  const { id, metrics } = host;
  return new Elysia({ name: "probes", ...SERVER_OPTIONS })
    .get("/health/live", () => ({ status: "live", node: id }))
    .get("/health/ready", ({ set }) => {
      const waitsFor = whatIsMissing(host);
      if (waitsFor.length > 0) set.status = 503;
      return { status: waitsFor.length > 0 ? "waiting" : "ready", node: id, waitsFor };
    })
    .get("/metrics", async ({ set }) => {
      set.headers["content-type"] = metrics.contentType;
      return metrics.metrics();
    });
}

function whatIsMissing({ snapshot, disk, store }: ProbeHost): string[] {
  const now = snapshot();
  const reason = now.context.refusedBecause;
  if (now.matches("starting")) return ["data directory recovery"];
  if (now.matches("draining") || now.status === "done") return ["shutdown in progress"];
  const waitsFor: string[] = [];
  if (!now.matches("serving")) waitsFor.push(`a leader that registers it${reason ? ` (${reason})` : ""}`);
  const { condition } = disk.space(store.usedBytes);
  if (condition === "full") waitsFor.push("free space");
  if (condition === "readOnly") waitsFor.push(`a disk that takes writes (${disk.failure})`);
  return waitsFor;
}
