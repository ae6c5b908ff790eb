/**
 * Load generator: speaks to the masters as a gateway does, with no REST between. Creates of empty files touch the
 * masters' log and the namespace alone; stats and pages are strong, so the leader answers them.
 */
import type { Config } from "../../../actors/messages/config.ts";
import { SYSTEM } from "../../../gateway/access/principal.ts";
import { MasterClient } from "../../../gateway/nodes/master-client.ts";
import { namesOf } from "../../support/system-backend.ts";
import { inParallel, type Latency, latencyOf, runAsLoad } from "./load-process.ts";
import { createEmpty, nameOf } from "./numbered-files.ts";

export interface CommandPathTask {
  verb: "create" | "stat" | "list";
  masters: Config["masters"];
  secret: string;
  directory: string;
  /** Of creates, stats or pages. */
  count: number;
  concurrency: number;
  pageSize: number;
  /** That are in the directory when stats or pages are asked for. */
  names: number;
}

export interface CommandPathResult {
  latency: Latency;
}

/** A gateway keeps no more commands than this under way in its session. */
const PER_GATEWAY = 64;

await runAsLoad<CommandPathTask, CommandPathResult>(async (task) => {
  const { verb, masters, secret, directory, count, concurrency, pageSize, names } = task;
  const gateways = await Promise.all(
    Array.from({ length: Math.ceil(concurrency / PER_GATEWAY) }, async (_, n) => {
      const gateway = new MasterClient({ masters }, `load-${n + 1}`, secret);
      await gateway.clusterState();
      return gateway;
    }),
  );
  const pathOf = (n: number): string => `${directory}/${nameOf(n)}`;
  const create = async (gateway: MasterClient, n: number): Promise<void> => {
    await gateway.execute(createEmpty(pathOf(n)), { by: SYSTEM });
  };
  const stat = async (gateway: MasterClient, n: number): Promise<void> => {
    const path = pathOf(n % names);
    if ((await namesOf(gateway).stat(path))?.kind !== "file") throw new Error(`${path} is not there`);
  };
  const pages = Math.floor(names / pageSize);
  const list = async (gateway: MasterClient, n: number): Promise<void> => {
    const page = n % pages;
    const after = page === 0 ? "" : pathOf(page * pageSize - 1);
    const { entries } = await namesOf(gateway).list({
      prefix: `${directory}/`,
      delimiter: true,
      after,
      limit: pageSize,
    });
    if (entries.length !== pageSize) throw new Error(`${entries.length} of ${pageSize} names came`);
  };
  const act = { create, stat, list }[verb];
  return async () => {
    const latencies = await inParallel(count, concurrency, async (n, lane) => {
      await act(gateways[lane % gateways.length] as MasterClient, n);
    });
    return { latency: latencyOf(latencies) };
  };
});
