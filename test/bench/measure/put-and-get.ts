/**
 * One large file put and got, beside what the machine does without us: three flushed copies, a bare TCP fan-out, a file
 * sent straight. They take turns, because a machine does not stay the same for minutes.
 */
import { join } from "node:path";
import { GiB, MiB, median, medianIfKnown, megabytesPerSecond, perGiB } from "../arithmetic.ts";
import { runLoad, startServer } from "../child-processes.ts";
import { countingCpu, remove, transfer, type Work } from "../cluster-work.ts";
import type { StraightGetTask } from "../load/straight-get.ts";
import type { TcpPutTask } from "../load/tcp-put.ts";
import { type Figure, figuresOf, type Session, type SharedMeasurement } from "../measurement.ts";
import type { FlushedCopiesTask } from "../scale/flushed-copies.ts";

const COPIES = 3;
const KEPT = "bench/kept";

type Bytes = Work<{ bytes: number }>;

function rate(works: Bytes[]): number {
  return median(works.map(({ result, seconds }) => megabytesPerSecond(result.bytes, seconds)));
}
const clusterCpu = (works: Bytes[]): number | null =>
  medianIfKnown(works.map(({ result, clusterCpuSeconds }) => perGiB(clusterCpuSeconds, result.bytes)));
const clientCpu = (works: Bytes[]): number | null =>
  medianIfKnown(works.map(({ result, cpuSeconds }) => perGiB(cpuSeconds, result.bytes)));

function flushedCopies({ place, sizes }: Session): Promise<Bytes> {
  const task = { directory: place.directory, sizeBytes: sizes.fileBytes, copies: COPIES };
  return countingCpu([], () => runLoad<FlushedCopiesTask, { bytes: number }>("scale/flushed-copies.ts", task));
}

async function tcpFanOut({ place, sizes }: Session): Promise<Bytes> {
  const sinks = await Promise.all(
    Array.from({ length: COPIES }, (_, n) => startServer("scale/tcp-sink.ts", [join(place.directory, `sink-${n}`)])),
  );
  const relay = await startServer(
    "scale/tcp-relay.ts",
    sinks.map(({ port }) => port),
  );
  const servers = [relay, ...sinks];
  const task = { port: relay.port, sizeBytes: sizes.fileBytes };
  const work = await countingCpu(
    servers.map(({ pid }) => pid),
    () => runLoad<TcpPutTask, { bytes: number }>("load/tcp-put.ts", task),
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
  const work = await countingCpu([server.pid], () =>
    runLoad<StraightGetTask, { bytes: number }>("load/straight-get.ts", task),
  );
  await server.stop();
  return work;
}

async function run(session: Session): Promise<Figure[]> {
  const { place, cluster, sizes, say } = session;
  const sizeBytes = sizes.fileBytes;
  const rounds = sizes.rounds[place.kind];
  const withFanOut = place.kind === "memory";

  say("warm-up");
  await flushedCopies(session);
  await transfer(cluster, { verb: "put", paths: [`/files/${KEPT}`], sizeBytes });
  await transfer(cluster, { verb: "put", paths: ["/files/bench/warm-up"], sizeBytes });
  await remove(cluster, "bench/warm-up");
  await transfer(cluster, { verb: "get", paths: [`/files/${KEPT}`], sizeBytes });
  if (withFanOut) await tcpFanOut(session);

  const works = {
    copies: [] as Bytes[],
    put: [] as Bytes[],
    fanOut: [] as Bytes[],
    get: [] as Bytes[],
    straight: [] as Bytes[],
  };
  for (let round = 1; round <= rounds; round++) {
    say(`round ${round} of ${rounds}`);
    works.copies.push(await flushedCopies(session));
    works.put.push(await transfer(cluster, { verb: "put", paths: ["/files/bench/put"], sizeBytes }));
    await remove(cluster, "bench/put");
    if (withFanOut) works.fanOut.push(await tcpFanOut(session));
    works.get.push(await transfer(cluster, { verb: "get", paths: [`/files/${KEPT}`], sizeBytes }));
    works.straight.push(await straightSend(await chunkFiles(session)));
  }
  await remove(cluster, KEPT);

  const size = sizeBytes >= GiB ? `${sizeBytes / GiB} GiB` : `${sizeBytes / MiB} MiB`;
  const figures = figuresOf(
    session,
    { id: "put.rate", label: `put ${size}`, value: rate(works.put), unit: "MB/s" },
    { id: "put.cpu", label: "put, CPU of the cluster", value: clusterCpu(works.put), unit: "s/GiB" },
    { id: "put.clientCpu", label: "put, CPU of the client", value: clientCpu(works.put), unit: "s/GiB" },
    { id: "get.rate", label: `get ${size}`, value: rate(works.get), unit: "MB/s", note: "from the page cache" },
    { id: "get.cpu", label: "get, CPU of the cluster", value: clusterCpu(works.get), unit: "s/GiB" },
    { id: "get.clientCpu", label: "get, CPU of the client", value: clientCpu(works.get), unit: "s/GiB" },
    { id: "scale.copies", label: "for scale: three flushed copies", value: rate(works.copies), unit: "MB/s" },
    {
      id: "scale.straight",
      label: "for scale: a worker's files sent straight",
      value: rate(works.straight),
      unit: "MB/s",
    },
    {
      id: "scale.straightCpu",
      label: "sent straight, CPU of the sender",
      value: clusterCpu(works.straight),
      unit: "s/GiB",
    },
  );
  if (withFanOut)
    figures.push(
      ...figuresOf(
        session,
        { id: "scale.fanOut", label: "for scale: bare TCP fan-out", value: rate(works.fanOut), unit: "MB/s" },
        {
          id: "scale.fanOutCpu",
          label: "bare fan-out, CPU of relay and sinks",
          value: clusterCpu(works.fanOut),
          unit: "s/GiB",
        },
      ),
    );
  return figures;
}

export const putAndGet: SharedMeasurement = { name: "put-and-get", title: "A large file", where: "both", run };
