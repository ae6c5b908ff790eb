/** Pages of 1000 names out of one directory that holds very many. */
import { clusterIdOf } from "../../../actors/master/group/cluster-id.ts";
import { loadSecret } from "../../../actors/node/identity/secret.ts";
import type { ClusterOptions } from "../../support/real-cluster.ts";
import { runLoad } from "../child-processes.ts";
import { loadCluster } from "../cluster-work.ts";
import type { FillDirectoryTask } from "../load/fill-directory.ts";
import type { ListPagesResult, ListPagesTask } from "../load/list-pages.ts";
import { type ApartMeasurement, type ApartSession, type Figure, figuresOf } from "../measurement.ts";

const PAGE_SIZE = 1000;
const DIRECTORY = "bench/listed";
const MASTER = "master-1";

async function runApart(session: ApartSession): Promise<Figure[]> {
  const { sizes, say } = session;
  const { largeDirectory: names, listPages: pages } = sizes;
  let filling = 0;
  const prepare: NonNullable<ClusterOptions["prepare"]> = async (cluster) => {
    say(`${names.toLocaleString("en")} names go through decide`);
    const clusterId = clusterIdOf(loadSecret(cluster.config.dataDirectory, {}));
    const { seconds } = await runLoad<FillDirectoryTask, unknown>("load/fill-directory.ts", {
      dataDirectory: cluster.dataOf(MASTER),
      nodeId: MASTER,
      clusterId,
      directory: DIRECTORY,
      names,
    });
    filling = seconds;
  };
  return session.withClusters([{ workers: 2, prepare }], async (cluster) => {
    const list = () =>
      loadCluster<ListPagesTask, ListPagesResult>(cluster, "load/list-pages.ts", {
        url: cluster.url,
        directory: DIRECTORY,
        pageSize: PAGE_SIZE,
        pages,
      });
    say("warm-up");
    await list();
    say(`${pages} pages`);
    const { result, seconds } = await list();
    const note = `${PAGE_SIZE} names each, ${names.toLocaleString("en")} in the directory, one reader, over REST`;
    return figuresOf(
      session,
      { id: "list.rate", label: "list pages", value: result.pages / seconds, unit: "/s", note },
      { id: "list.p50", label: "list page, p50", value: result.latency.p50Ms, unit: "ms" },
      { id: "list.p99", label: "list page, p99", value: result.latency.p99Ms, unit: "ms" },
      { id: "list.applied", label: "creates applied, no log and no network", value: names / filling, unit: "/s" },
    );
  });
}

export const largeDirectory: ApartMeasurement = {
  name: "masters-directory",
  title: "A large directory",
  where: "disk",
  runApart,
};
