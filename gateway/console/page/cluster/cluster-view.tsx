/** The cluster for people who run it: one honest sentence, then everything that it was made from. */
import type { ComponentChildren } from "preact";
import type { WorkerMode } from "../../../../actors/messages/primitives.ts";
import type { Cluster } from "../../../client/answers.ts";
import { announce } from "../announce.ts";
import { postJson, sentenceOf } from "../ask.ts";
import { PastNodes } from "../failover/past-nodes.tsx";
import { cursor } from "../failover/playback.ts";
import { confirmed } from "../shell/dialog.tsx";
import { Icon } from "../shell/icon.tsx";
import { StateDot } from "../shell/state-dot.tsx";
import { isStale } from "../silence.ts";
import { bytesInWords, durationInWords } from "../words.ts";
import { cluster, clusterAgeMs, samples, unknownBecause } from "./cluster-store.ts";
import { LineChart } from "./line-chart.tsx";

export function ClusterView() {
  const state = cluster.value;
  if (cursor.value !== null) return <PastNodes />;
  return (
    <div class={`cluster ${unknownBecause.value === null ? "" : "unknown"}`}>
      <h1 class="visually-hidden">Cluster</h1>
      {state && <Age />}
      {state && <Reasons reasons={state.reasons} />}
      {state && <Redundancy state={state} />}
      <Charts />
      {state && <Workers state={state} />}
      {state && <Masters state={state} />}
      {state && <Repairs state={state} />}
    </div>
  );
}

/** Seen once a second, it is of now; else everything below is as old as this says. */
const Age = () =>
  unknownBecause.value === null && !isStale.value ? null : (
    <p class="cluster-age" role="status">
      <Icon name="warn" />
      <span>
        As it was <b>{durationInWords(clusterAgeMs.value)}</b> ago
        {unknownBecause.value === null ? "" : `: ${unknownBecause.value}`}.
      </span>
    </p>
  );

function Section({ title, note, children }: { title: string; note?: string; children: ComponentChildren }) {
  return (
    <section class="panel">
      <header class="panel-head">
        <h2>{title}</h2>
        {note && <span class="quiet">{note}</span>}
      </header>
      {children}
    </section>
  );
}

const Reasons = ({ reasons }: { reasons: Cluster["reasons"] }) =>
  reasons.length === 0 ? null : (
    <ul class="reasons">
      {reasons.map(({ code, message, severity }) => (
        <li key={code + message} class={severity}>
          <b>{severity}</b> {message}
        </li>
      ))}
    </ul>
  );

function Redundancy({ state: { redundancy, files, steward } }: { state: Cluster }) {
  const { chunks, full, below, unknown = 0 } = redundancy;
  const parts = [
    { label: "all copies", count: full, tone: "good" },
    ...Object.entries(below)
      .map(([copies, count]) => ({ copies: Number(copies), count }))
      .sort((a, b) => b.copies - a.copies)
      .map(({ copies, count }) => ({
        label: copies === 0 ? "no good copy" : `${copies} good ${copies === 1 ? "copy" : "copies"}`,
        count,
        tone: copies === 0 ? "down" : copies === 1 ? "trouble" : "wary",
      })),
    { label: "not known yet", count: unknown, tone: "unknown" },
  ].filter(({ count }) => count > 0);
  return (
    <Section
      title="Redundancy"
      note={`${files.files.toLocaleString("en")} files, ${bytesInWords(files.bytes)} · steward: ${steward}`}
    >
      {chunks === 0 ? (
        <p class="quiet">No chunks yet.</p>
      ) : (
        <>
          <div class="bar" aria-hidden="true">
            {parts.map(({ label, count, tone }) => (
              <span key={label} class={tone} style={{ flexGrow: count }} />
            ))}
          </div>
          <ul class="legend">
            {parts.map(({ label, count, tone }) => (
              <li key={label}>
                <span class={`swatch ${tone}`} aria-hidden="true" />
                {label} <b>{count.toLocaleString("en")}</b>
              </li>
            ))}
          </ul>
        </>
      )}
    </Section>
  );
}

function Charts() {
  const list = samples.value;
  const at = list.map((sample) => sample.at);
  const perSecond = (bytes: number): string => `${bytesInWords(bytes)}/s`;
  const seconds = (value: number): string => durationInWords(value * 1000);
  return (
    <div class="charts">
      <LineChart
        title="Throughput"
        at={at}
        inWords={perSecond}
        series={[
          { label: "in", tone: "passive", values: list.map(({ bytesIn }) => bytesIn) },
          { label: "out", tone: "good", values: list.map(({ bytesOut }) => bytesOut) },
        ]}
      />
      <LineChart
        title="Latency"
        at={at}
        inWords={seconds}
        note="to the first byte"
        series={[
          { label: "half within", tone: "passive", values: list.map(({ p50 }) => p50) },
          { label: "95 % within", tone: "wary", values: list.map(({ p95 }) => p95) },
        ]}
      />
      <LineChart
        title="Chunks short of copies"
        at={at}
        inWords={(count) => Math.round(count).toLocaleString("en")}
        series={[
          { label: "short", tone: "down", values: list.map(({ short }) => short) },
          { label: "repairs", tone: "wary", values: list.map(({ repairs }) => repairs) },
        ]}
      />
    </div>
  );
}

type Worker = Cluster["workers"][number];

const ORDERS: Record<Exclude<WorkerMode, "removed">, { verb: string; says: string }> = {
  active: { verb: "Activate", says: "It takes new chunks again." },
  draining: {
    verb: "Drain",
    says: "It serves on, takes nothing new, and its copies move to others. It can be taken away when it is drained.",
  },
  maintenance: {
    verb: "Maintenance",
    says: "It may be stopped for a while: its silence starts no repair. Meanwhile its chunks have one copy less.",
  },
};

async function order(worker: Worker, mode: Exclude<WorkerMode, "removed">): Promise<void> {
  const { verb, says } = ORDERS[mode];
  const risk = mode === "maintenance" ? worker.chunksAtRiskIfStopped : 0;
  const yes =
    mode === "active" ||
    (await confirmed({
      title: `${verb}: ${worker.id}?`,
      body: risk > 0 ? `${says} If it stops, ${risk} chunks have too few copies to be written safely.` : says,
      verb,
      isDangerous: risk > 0,
    }));
  if (!yes) return;
  try {
    await postJson(`/cluster/workers/${encodeURIComponent(worker.id)}`, { mode });
    announce(`${worker.id} is ${mode} now. ${says}`);
  } catch (error) {
    announce(sentenceOf(error), "problem");
  }
}

const toneOf = ({ state, mode, condition }: Worker): string => {
  if (state === "dead" || state === "removed") return "down";
  if (state === "unknown") return "unknown";
  if (state !== "live" || mode !== "active" || (condition !== null && condition !== "normal")) return "wary";
  return "good";
};

const stateInWords = ({ state, mode, condition }: Worker): string =>
  [
    state,
    mode === "active" || state === "drained" ? "" : mode,
    condition === "normal" || condition === null ? "" : condition,
  ]
    .filter((word, n, words) => word && words.indexOf(word) === n)
    .join(", ");

function Workers({ state: { workers } }: { state: Cluster }) {
  const live = workers.filter(({ state }) => state === "live").length;
  return (
    <Section title="Workers" note={`${live} of ${workers.length} live`}>
      <ul class="node-cards">
        {workers.map((worker) => (
          <WorkerCard key={worker.id} worker={worker} />
        ))}
      </ul>
    </Section>
  );
}

function WorkerCard({ worker }: { worker: Worker }) {
  const { id, state, zone, freeBytes, capacityBytes, chunks, trashBytes, lastHeardMs, mode } = worker;
  const { chunksAtRiskIfStopped, chunksUnknownIfStopped = 0 } = worker;
  const used = capacityBytes - (freeBytes ?? 0);
  return (
    <li class={`node-card ${toneOf(worker)}`} data-worker={id}>
      <header>
        <h3>{id}</h3>
        <StateDot tone={toneOf(worker)} label={stateInWords(worker)} />
      </header>
      <p class="quiet">
        {zone} · {chunks.toLocaleString("en")} chunks
        {(trashBytes ?? 0) > 0 ? ` · ${bytesInWords(trashBytes ?? 0)} trash` : ""}
      </p>
      {lastHeardMs === null || freeBytes === null ? (
        <p class="quiet">Its free space is not known yet</p>
      ) : (
        <>
          <meter
            min={0}
            max={Math.max(1, capacityBytes)}
            value={used}
            aria-label={`Space used on ${id}: ${bytesInWords(used)} of ${bytesInWords(capacityBytes)}`}
          />
          <p class="space">
            <span>{bytesInWords(freeBytes)} free</span>
            <span class="quiet">of {bytesInWords(capacityBytes)}</span>
          </p>
        </>
      )}
      <p class={chunksAtRiskIfStopped === 0 ? "quiet" : "risk"}>
        {state === "dead"
          ? "Gone"
          : chunksAtRiskIfStopped === 0
            ? chunksUnknownIfStopped === 0
              ? "Safe to stop"
              : "Not known yet whether it may stop"
            : `${chunksAtRiskIfStopped.toLocaleString("en")} chunks at risk if it stops`}
      </p>
      <p class="quiet">
        Heard{" "}
        {lastHeardMs === null ? "not yet by this leader" : `${durationInWords(lastHeardMs + clusterAgeMs.value)} ago`}
      </p>
      <div class="buttons">
        {(["active", "draining", "maintenance"] as const)
          .filter((wanted) => wanted !== mode)
          .map((wanted) => (
            <button
              key={wanted}
              type="button"
              class="button small"
              disabled={isStale.value}
              aria-label={`${ORDERS[wanted].verb} ${id}`}
              onClick={() => void order(worker, wanted)}
            >
              {ORDERS[wanted].verb}
            </button>
          ))}
      </div>
    </li>
  );
}

function Masters({ state: { masters, leader, term } }: { state: Cluster }) {
  return (
    <Section title="Masters" note={leader ? `${leader} leads in term ${term}` : "no leader is known"}>
      <div class="table-scroll">
        <table>
          <thead>
            <tr>
              <th>Master</th>
              <th>Role</th>
              <th class="number">Term</th>
              <th class="number">Committed</th>
              <th class="number">Applied</th>
            </tr>
          </thead>
          <tbody>
            {masters.map(({ id, role, term: ownTerm, commitIndex, appliedIndex }) => (
              <tr key={id}>
                <td>{id}</td>
                <td>
                  <StateDot tone={role === "leader" ? "good" : role === "follower" ? "passive" : "wary"} label={role} />
                </td>
                <td class="number">{role === "unknown" ? "?" : ownTerm}</td>
                <td class="number">{role === "unknown" ? "?" : commitIndex.toLocaleString("en")}</td>
                <td class="number">{role === "unknown" ? "?" : appliedIndex.toLocaleString("en")}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </Section>
  );
}

const MOST_REPAIRS = 50;

function Repairs({ state: { repairs, repairQueue, garbage } }: { state: Cluster }) {
  const note = `${repairs.length} under way, ${repairQueue.toLocaleString("en")} waiting, ${garbage.toLocaleString("en")} freed copies to clear`;
  return (
    <Section title="Repairs" note={note}>
      {repairs.length > 0 && (
        <div class="table-scroll">
          <table>
            <thead>
              <tr>
                <th>Chunk</th>
                <th>State</th>
                <th class="number">Good copies</th>
                <th>From</th>
                <th>To</th>
                <th class="number">For</th>
                <th>Because</th>
              </tr>
            </thead>
            <tbody>
              {repairs.slice(0, MOST_REPAIRS).map(({ chunkId, state, goodCopies, source, target, sinceMs, reason }) => (
                <tr key={chunkId}>
                  <td class="mono">{chunkId.replace(/^0+/, "…")}</td>
                  <td>{state}</td>
                  <td class="number">{goodCopies}</td>
                  <td>{source ?? "–"}</td>
                  <td>{target ?? "–"}</td>
                  <td class="number">{durationInWords(sinceMs)}</td>
                  <td>{reason}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Section>
  );
}
