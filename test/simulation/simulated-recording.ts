/** What recordings of simulated lives have in common. */
import type { NodeStatus, Recording } from "../../gateway/console/api.ts";
import { RECORDING_FORMAT, RECORDING_VERSION } from "../../gateway/console/recording-format.ts";
import type { World } from "./world.ts";

type Header = Recording["header"];

export const simulatedNode = (id: string, kind: NodeStatus["kind"], rest: Partial<NodeStatus> = {}): NodeStatus => ({
  id,
  kind,
  url: `simulation://${id}`,
  zone: null,
  reach: "reachable",
  since: 0,
  reason: "",
  boot: 0,
  state: null,
  lagMs: 0,
  lost: 0,
  ...rest,
});

/** Times are ms since the beginning of the world. */
export const simulatedHeader = (
  { now, seed }: Pick<World, "now" | "seed">,
  rest: Pick<Header, "timings" | "nodes" | "machines">,
): Header => ({
  format: RECORDING_FORMAT,
  version: RECORDING_VERSION,
  cluster: "simulation",
  software: "simulation",
  exportedAt: now,
  from: 0,
  to: now,
  seed: String(seed),
  ...rest,
});
