/** Decides along which ways a block reaches the workers of its chunk. */
import type { Config } from "../../messages/config.ts";
import type { NodeId } from "../../messages/primitives.ts";

/** Each leg is one request of the gateway: to its first worker, which passes the block on to the rest in turn. */
export type Route = readonly (readonly NodeId[])[];

export interface RouteQuestion {
  setting: Config["route"];
  /** Workers that still have to get the block, best first. */
  workers: readonly NodeId[];
  /** The chunk is this one block, sealed in the same request. */
  sealing: boolean;
  /** A chain of this chunk broke before. */
  chainBroke: boolean;
}

/**
 * `auto`: a chain for the blocks of larger chunks, because the gateway then sends each byte once instead of once per
 * copy, at the same cost over all nodes; a fan-out where one request seals a whole small chunk, because its latency is
 * that of the slowest flush and not of the hops; and a fan-out after a chain broke, because then each worker answers
 * for itself.
 */
export function chooseRoute({ setting, workers, sealing, chainBroke }: RouteQuestion): Route {
  const chain = setting === "chain" || (setting === "auto" && !sealing);
  return chain && !chainBroke && workers.length > 0 ? [workers] : workers.map((worker) => [worker]);
}
