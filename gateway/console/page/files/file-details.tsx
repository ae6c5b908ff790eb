/** One file: where each of its chunks is, how healthy, and why there. */
import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { Decision, ExplainedChunk, Explanation } from "../../../client/answers.ts";
import { verifiedInWords } from "../../../client/verified.ts";
import { askJson, fileUrl, sentenceOf } from "../ask.ts";
import { Icon } from "../shell/icon.tsx";
import { bytesInWords, dateInWords } from "../words.ts";
import { download } from "./actions.ts";
import { nameOf } from "./naming.ts";

type Answer = Explanation & {
  next: number | null;
  chunkCount: number;
  crc32: string;
  contentType: string;
  modified: string;
};

const REFRESH_MS = 5000;
const GLYPH: Record<string, string> = { good: "✓", missing: "–", corrupt: "✕", stale: "≠", trash: "⌫" };

/** Where the chunks of a file are, asked again and again while the details are open. */
function useExplanation(path: string): { answer: Answer | null; problem: string | null } {
  const file = useSignal<Answer | null>(null);
  const problem = useSignal<string | null>(null);
  useEffect(() => {
    let isGone = false;
    const load = async (): Promise<void> => {
      try {
        const answer = await askJson<Answer>(`${fileUrl(path)}?explain`);
        if (isGone) return;
        file.value = answer;
        problem.value = null;
      } catch (error) {
        if (!isGone) problem.value = sentenceOf(error);
      }
    };
    void load();
    const timer = setInterval(() => document.visibilityState === "visible" && void load(), REFRESH_MS);
    return () => {
      isGone = true;
      clearInterval(timer);
    };
  }, [path]);
  return { answer: file.value, problem: problem.value };
}

export function FileDetails({ path, onClose }: { path: string; onClose: () => void }) {
  const { answer, problem } = useExplanation(path);
  return (
    <aside class="panel details" aria-label={`About ${nameOf(path)}`}>
      <header class="panel-head">
        <h2>{nameOf(path)}</h2>
        <button
          type="button"
          class="icon-button"
          aria-label="Download"
          onClick={() => void download({ path, kind: "file" })}
        >
          <Icon name="download" />
        </button>
        <button type="button" class="icon-button" aria-label="Close details" onClick={onClose}>
          <Icon name="close" />
        </button>
      </header>
      {problem && (
        <p class="inline-problem" role="alert">
          <Icon name="warn" /> {problem}
        </p>
      )}
      {answer && (
        <>
          <p class={`verdict-line ${isWhole(answer) ? "good" : "bad"}`}>
            <Icon name={isWhole(answer) ? "check" : "warn"} /> {verdict(answer)}
          </p>
          <dl class="facts">
            <dt>Size</dt>
            <dd>{bytesInWords(answer.size)}</dd>
            <dt>Chunks</dt>
            <dd>
              {answer.chunkCount}, {answer.replication} copies wanted of each
            </dd>
            <dt>Stored</dt>
            <dd>{dateInWords(answer.modified)}</dd>
            <dt>Type</dt>
            <dd>{answer.contentType}</dd>
            <dt>CRC-32</dt>
            <dd class="mono">{answer.crc32}</dd>
          </dl>
          {answer.chunks.length > 0 && <h3>Where it is</h3>}
          <ol class="chunks">
            {answer.chunks.map((chunk) => (
              <ChunkRow key={chunk.id} chunk={chunk} wanted={answer.replication} />
            ))}
          </ol>
          {answer.next !== null && <p class="quiet">The first {answer.chunks.length} chunks are shown.</p>}
          {answer.now && (
            <details class="why">
              <summary>Where a new chunk would go now</summary>
              <DecisionTable decision={answer.now} holders={null} />
            </details>
          )}
        </>
      )}
    </aside>
  );
}

const goodOf = (chunk: ExplainedChunk): number =>
  chunk.replicas.filter(({ state, workerState }) => state === "good" && workerState !== "dead").length;
const isWhole = ({ chunks, replication }: Answer): boolean => chunks.every((chunk) => goodOf(chunk) >= replication);

function verdict(answer: Answer): string {
  const { chunks, replication, masters } = answer;
  if (masters) return `A tiny file: it lies in the metadata, on ${masters.join(", ")}.`;
  if (chunks.length === 0) return "An empty file: nothing that could be lost.";
  const short = chunks.filter((chunk) => goodOf(chunk) < replication);
  const lost = chunks.filter((chunk) => goodOf(chunk) === 0).length;
  const part = answer.next === null ? "" : ` of the first ${chunks.length}`;
  if (lost > 0) return `${lost} chunks${part} have no good copy now.`;
  if (short.length > 0)
    return `${short.length} of ${chunks.length} chunks ${short.length === 1 ? "has" : "have"} fewer than ${replication} good copies.`;
  return chunks.length === 1
    ? `Its only chunk has ${replication} good copies.`
    : `Each of ${chunks.length} chunks${part} has ${replication} good copies.`;
}

function ChunkRow({ chunk, wanted }: { chunk: ExplainedChunk; wanted: number }) {
  const good = goodOf(chunk);
  return (
    <li class="chunk">
      <details>
        <summary>
          <span class="chunk-index">{chunk.index}</span>
          <span class="replicas">
            {chunk.replicas.map(({ worker, state, workerState, reason }) => (
              <span
                key={worker}
                class={`replica ${workerState === "dead" ? "missing" : state}`}
                title={[`${state} on ${worker} (${workerState})`, reason].filter(Boolean).join(": ")}
              >
                <span aria-hidden="true">{workerState === "dead" ? "✕" : (GLYPH[state] ?? "?")}</span> {worker}
                <span class="visually-hidden">
                  {" "}
                  {state}, {workerState}
                </span>
              </span>
            ))}
          </span>
          <span class={`quiet count ${good < wanted ? "short" : ""}`}>
            {good} of {wanted}
          </span>
        </summary>
        <dl class="facts">
          <dt>Chunk</dt>
          <dd class="mono">{chunk.id}</dd>
          <dt>Bytes</dt>
          <dd>
            {chunk.offset.toLocaleString("en")} to {(chunk.offset + chunk.length).toLocaleString("en")}
          </dd>
          {chunk.replicas.map(({ worker, zone, state, verifiedAt, sealedAt, reason }) => (
            <ReplicaFact key={worker} {...{ worker, zone, state, verifiedAt, sealedAt, reason }} />
          ))}
          {chunk.repair && (
            <>
              <dt>Repair</dt>
              <dd>{chunk.repair}</dd>
            </>
          )}
        </dl>
        {chunk.decision ? (
          <DecisionTable decision={chunk.decision} holders={new Set(chunk.replicas.map(({ worker }) => worker))} />
        ) : (
          <p class="quiet">Why there is not known any more: accounts of placements are kept for 30 days.</p>
        )}
      </details>
    </li>
  );
}

const ReplicaFact = (replica: Omit<ExplainedChunk["replicas"][number], "url" | "workerState">) => (
  <>
    <dt>{replica.worker}</dt>
    <dd>
      {replica.state}, {replica.zone}, {verifiedInWords(replica, dateInWords)}
      {replica.reason ? <span class="quiet"> {replica.reason}</span> : ""}
    </dd>
  </>
);

const countsInWords = (counts: Record<string, number>): string =>
  Object.entries(counts)
    .map(([what, workers]) => `${workers} ${what}`)
    .join(", ");

/** @param holders null: nothing was written by this decision yet */
const DecisionTable = ({ decision, holders }: { decision: Decision; holders: ReadonlySet<string> | null }) => (
  <div class="decision">
    <p>
      <span class="quiet">Decided {dateInWords(decision.at)}:</span> {decision.rule}
      {decision.chosen && `. Chosen: ${decision.chosen.join(", ")}`}
      {decision.counts && `. Of all workers: ${countsInWords(decision.counts)}`}
    </p>
    <table>
      <thead>
        <tr>
          <th>Worker</th>
          <th class="number">Score</th>
          <th>Verdict</th>
        </tr>
      </thead>
      <tbody>
        {decision.candidates.map(({ worker, score, rejected }) => (
          <tr key={worker} class={rejected ? "quiet" : ""}>
            <td>{worker}</td>
            <td class="number">{Number.isFinite(score) ? score.toFixed(2) : "–"}</td>
            <td>
              {rejected ?? (holders === null ? "would do" : holders.has(worker) ? "holds a copy" : "would have done")}
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  </div>
);
