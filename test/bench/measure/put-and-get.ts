/**
 * One large file put and got, beside what the machine does without us: three flushed copies (through the page cache, and past
 * it), a bare chain of HTTP servers, a file sent straight. They take turns, because a machine does not stay the same for minutes.
 */
import { join } from "node:path";
import { GiB, MiB, median, medianIfKnown, megabytesPerSecond, perGiB } from "../arithmetic.ts";
import { runLoad, startServer } from "../child-processes.ts";
import { type ClusterWork, countingCpu, remove, transfer, type Work } from "../cluster-work.ts";
import { cpuFigures } from "../cpu-figures.ts";
import type { StraightGetTask } from "../load/straight-get.ts";
import type { TransferResult, TransferTask } from "../load/transfer.ts";
import { type Figure, figuresOf, type Session, type SharedMeasurement } from "../measurement.ts";
import type { FlushedCopiesTask } from "../scale/flushed-copies.ts";
import { medianSpent } from "../spent-cpu.ts";

const COPIES = 3;
const KEPT = "bench/kept";

type Bytes = Work<{ bytes: number }>;

function rate(works: Bytes[]): number {
  return median(works.map(({ result, seconds }) => megabytesPerSecond(result.bytes, seconds)));
}
const serverCpu = (works: Bytes[]): number | null =>
  medianIfKnown(works.map(({ result, clusterCpuSeconds }) => perGiB(clusterCpuSeconds, result.bytes)));
const clientCpu = (works: Bytes[]): number | null =>
  medianIfKnown(works.map(({ result, cpuSeconds }) => perGiB(cpuSeconds, result.bytes)));

function flushedCopies({ place, sizes }: Session, direct: boolean): Promise<Bytes> {
  const task = { directory: place.directory, sizeBytes: sizes.fileBytes, copies: COPIES, direct };
  return countingCpu([], () => runLoad<FlushedCopiesTask, { bytes: number }>("scale/flushed-copies.ts", task));
}

async function bareChain({ place, sizes }: Session): Promise<Bytes> {
  const servers: Awaited<ReturnType<typeof startServer>>[] = [];
  for (let n = COPIES; n >= 1; n--) {
    const next = servers[0] ? [servers[0].port] : [];
    servers.unshift(await startServer("scale/chain-sink.ts", [join(place.directory, `sink-${n}`), ...next]));
  }
  servers.unshift(await startServer("scale/chain-gateway.ts", [(servers[0] as { port: number }).port]));
  const task = { verb: "put" as const, paths: ["/"], sizeBytes: sizes.fileBytes, bytesPerSecond: 0, stopAfterMs: 0 };
  const url = `http://127.0.0.1:${servers[0]?.port}`;
  const work = await countingCpu(
    servers.map(({ pid }, n) => ({ pid, kind: n === 0 ? "front" : "sink" })),
    () => runLoad<TransferTask, TransferResult>("load/transfer.ts", { url, ...task }),
  );
  await Promise.all(servers.map(({ stop }) => stop()));
  return work;
}

/** One copy of each chunk of the kept file, as it lies on a worker now: a repair may have moved it. */
async function chunkFiles({ cluster }: Session): Promise<string[]> {
  const chunks = await cluster.chunks(KEPT);
  return chunks.map(({ id, replicas }) => {
    const [found] = new Bun.Glob(`**/${id}.chunk`).scanSync({
      cwd: cluster.dataOf(replicas[0]?.worker ?? ""),
      absolute: true,
    });
    if (!found) throw new Error(`Chunk ${id} is not on ${replicas[0]?.worker}`);
    return found;
  });
}

async function straightSend(files: string[]): Promise<Bytes> {
  const server = await startServer("scale/straight-send.ts", files);
  const task = { url: `http://127.0.0.1:${server.port}`, paths: files.map((_, n) => `/${n}`) };
  const work = await countingCpu([{ pid: server.pid, kind: "sender" }], () =>
    runLoad<StraightGetTask, { bytes: number }>("load/straight-get.ts", task),
  );
  await server.stop();
  return work;
}

async function run(session: Session): Promise<Figure[]> {
  const { place, cluster, sizes, say } = session;
  const sizeBytes = sizes.fileBytes;
  const rounds = sizes.rounds[place.kind];
  const withChain = place.kind === "memory";

  say("warm-up");
  await flushedCopies(session, false);
  const goesDirect = await takesDirect(session);
  await transfer(cluster, { verb: "put", paths: [`/files/${KEPT}`], sizeBytes });
  await transfer(cluster, { verb: "put", paths: ["/files/bench/warm-up"], sizeBytes });
  await remove(cluster, "bench/warm-up");
  await transfer(cluster, { verb: "get", paths: [`/files/${KEPT}`], sizeBytes });
  if (withChain) await bareChain(session);

  const works = {
    copies: [] as Bytes[],
    direct: [] as Bytes[],
    put: [] as ClusterWork<TransferResult>[],
    chain: [] as Bytes[],
    get: [] as ClusterWork<TransferResult>[],
    straight: [] as Bytes[],
  };
  for (let round = 1; round <= rounds; round++) {
    say(`round ${round} of ${rounds}`);
    works.copies.push(await flushedCopies(session, false));
    if (goesDirect) works.direct.push(await flushedCopies(session, true));
    works.put.push(await transfer(cluster, { verb: "put", paths: ["/files/bench/put"], sizeBytes }));
    await remove(cluster, "bench/put");
    if (withChain) works.chain.push(await bareChain(session));
    works.get.push(await transfer(cluster, { verb: "get", paths: [`/files/${KEPT}`], sizeBytes }));
    works.straight.push(await straightSend(await chunkFiles(session)));
  }
  await remove(cluster, KEPT);

  const size = sizeBytes >= GiB ? `${sizeBytes / GiB} GiB` : `${sizeBytes / MiB} MiB`;
  const per = { count: sizeBytes / GiB, unit: "s/GiB" as const };
  const figures: Omit<Figure, "place">[] = [
    { id: "put.rate", label: `put ${size}`, value: rate(works.put), unit: "MB/s" },
    ...cpuFigures("put", "put", medianSpent(works.put), per),
    { id: "put.clientCpu", label: "put, CPU of the client", value: clientCpu(works.put), unit: "s/GiB" },
    { id: "get.rate", label: `get ${size}`, value: rate(works.get), unit: "MB/s", note: "just written" },
    ...cpuFigures("get", "get", medianSpent(works.get), per),
    { id: "get.clientCpu", label: "get, CPU of the client", value: clientCpu(works.get), unit: "s/GiB" },
    ...scale("scale.copies", "three flushed copies", works.copies, clientCpu),
    ...(goesDirect ? scale("scale.copiesDirect", "the same past the page cache", works.direct, clientCpu) : []),
    ...scale("scale.straight", "a worker's files sent straight", works.straight, serverCpu),
    ...(withChain ? scale("scale.chain", "bare chain of three", works.chain, serverCpu) : []),
  ];
  return figuresOf(session, ...figures);
}

const scale = (id: string, label: string, works: Bytes[], cpu: (works: Bytes[]) => number | null) => [
  { id, label: `for scale: ${label}`, value: rate(works), unit: "MB/s" },
  { id: `${id}Cpu`, label: `${label}, CPU`, value: cpu(works), unit: "s/GiB" },
];

/** A file system in memory may refuse. */
const takesDirect = (session: Session): Promise<boolean> =>
  flushedCopies(session, true).then(
    () => true,
    () => false,
  );

export const putAndGet: SharedMeasurement = { name: "put-and-get", title: "A large file", where: "both", run };
