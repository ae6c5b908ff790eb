/** Probes: alive, ready to serve, and whether a worker can be stopped at no cost to clients. */
import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { type ErrorCode, Refusal } from "../../actors/messages/errors.ts";
import { SERVER_OPTIONS } from "../../actors/node/http/server-options.ts";
import { SYSTEM } from "../access/principal.ts";
import { type Gateway, servicesFor } from "../http/context.ts";
import { describe, FROM_MASTERS, NO_QUERY } from "../http/describe.ts";
import { readQuery } from "../http/query.ts";
import type { ClusterStateAnswer } from "../ports/operations.ts";
import { leaderView } from "./leader-view.ts";

const StopQuery = Type.Object(
  { worker: Type.String({ minLength: 1, maxLength: 63, description: "id of the worker" }) },
  { additionalProperties: false },
);

/** Workers that take new chunks now. */
const usable = (state: ClusterStateAnswer) =>
  state.workers.filter((worker) => worker.state === "live" && worker.mode === "active");

/** What keeps this gateway from serving reads and writes. Empty: nothing. */
async function blockers(gateway: Gateway): Promise<{ code: ErrorCode; message: string }[]> {
  if (gateway.stopping) return [{ code: "NOT_READY", message: "The gateway is stopping" }];
  let state: ClusterStateAnswer;
  try {
    state = await leaderView(gateway.backend.as(SYSTEM).operations);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return [{ code: error.code, message: error.message }];
  }
  const live = usable(state).length;
  const { minReplicas } = gateway.config;
  if (live < minReplicas)
    return [{ code: "NOT_ENOUGH_WORKERS", message: `${live} live workers, ${minReplicas} needed (minReplicas)` }];
  return [];
}

/** Why stopping this worker now would cost availability, or null. */
export function stopRisk(state: ClusterStateAnswer, workerId: string, minReplicas: number): string | null {
  const worker = state.workers.find(({ id }) => id === workerId);
  if (!worker) throw new Refusal("NO_SUCH_WORKER", `There is no worker "${workerId}"`);
  if (state.steward === "safeMode")
    return "The leader is new and still hears from the workers; what they hold is not known yet";
  if (worker.chunksAtRiskIfStopped > 0)
    return `${worker.chunksAtRiskIfStopped} chunks would have fewer than ${minReplicas} copies without it`;
  const { chunksUnknownIfStopped: unknown = 0 } = worker;
  if (unknown > 0)
    return `The leader has not heard all workers that hold ${unknown} of its chunks: copies may be missing`;
  const others = usable(state).filter(({ id }) => id !== workerId).length;
  if (others < minReplicas) return `${others} live workers would be left, ${minReplicas} are needed to write`;
  return null;
}

const Healthy = Type.Object({ status: Type.String() });

export function health(gateway: Gateway) {
  let looking: ReturnType<typeof blockers> | null = null;
  /** Anyone may send probes: those that come together share one question to the leader. */
  const look = () => {
    looking ??= blockers(gateway).finally(() => {
      looking = null;
    });
    return looking;
  };
  return new Elysia(SERVER_OPTIONS)
    .get("/health/live", () => Response.json({ status: "live" }), {
      detail: describe({
        public: true,
        query: NO_QUERY,
        summary: "The process runs",
        tag: "health",
        responses: { 200: { description: "it does", content: { "application/json": Healthy } } },
        errors: [],
      }),
    })
    .get(
      "/health/ready",
      async ({ request }) => {
        readQuery(request.url, NO_QUERY);
        const [first, ...more] = await look();
        if (!first) return Response.json({ status: "ready" });
        throw new Refusal(first.code, first.message, { blockers: [first, ...more] });
      },
      {
        detail: describe({
          public: true,
          query: NO_QUERY,
          summary: "Reads and writes are served",
          description: "If not, the problem names what is in the way.",
          tag: "health",
          responses: { 200: { description: "they are", content: { "application/json": Healthy } } },
          errors: [...FROM_MASTERS, "NOT_ENOUGH_WORKERS", "NOT_READY"],
        }),
      },
    )
    .get(
      "/health/stop",
      async ({ request }) => {
        const { worker } = readQuery(request.url, StopQuery);
        const state = await leaderView(servicesFor(gateway, request).operations);
        const risk = stopRisk(state, worker, gateway.config.minReplicas);
        if (risk === null) return Response.json({ status: "safe to stop", worker });
        throw new Refusal("PRECONDITION_FAILED", risk, { worker, hint: "Wait for repair, or drain the worker first" });
      },
      {
        detail: describe({
          query: StopQuery,
          summary: "A worker may be stopped without cost",
          description:
            "200: every chunk stays readable with minReplicas copies, and writes go on. 412: not now, and why.",
          tag: "health",
          responses: { 200: { description: "safe", content: { "application/json": Healthy } } },
          errors: ["INVALID_PARAMETER", "NO_SUCH_WORKER", "PRECONDITION_FAILED", ...FROM_MASTERS],
        }),
      },
    );
}
