/** Failovers, each as a report: its phases as a bar, what was refused meanwhile, which chunks were at risk, and because of what. */
import type { Damage, Report } from "../../api.ts";
import { Icon } from "../shell/icon.tsx";
import { clockTime, durationInWords } from "../words.ts";
import { frameSpan, goTo, reports, seek, trace } from "./playback.ts";

/** Phases in the order of their alarm; an unknown phase gets the last colour. */
const PHASE_TONE: Record<string, string> = {
  missedHeartbeats: "down",
  down: "down",
  silence: "down",
  suspicion: "wary",
  preVote: "wary",
  vote: "trouble",
  takingOffice: "trouble",
  queue: "trouble",
  firstCommit: "good",
  copying: "passive",
};

export function ReportsPane() {
  const list = reports.value;
  if (list.length === 0)
    return (
      <p class="empty small">
        No leader was lost and no worker died in what is held here. A drill makes a failover on purpose.
      </p>
    );
  return (
    <ol class="reports">
      {list.map((report) => (
        <ReportCard key={report.id} report={report} />
      ))}
    </ol>
  );
}

function show({ from, to }: Report): void {
  const held = trace();
  frameSpan(held.positionAt(from), held.positionAt(to ?? held.timeOf(held.last)));
  seek(held.positionAt(from));
}

function toRecord(id: string | null, ms: number): void {
  const record = id === null ? undefined : trace().get(id);
  if (record) goTo(record);
  else seek(trace().positionAt(ms));
}

function ReportCard({ report }: { report: Report }) {
  const { id, kind, title, from, atLeast, totalMs, phases, clients, between, chunksAtRisk, copies, because, to } =
    report;
  return (
    <li class={`report ${kind}`} data-report={id} data-total={totalMs ?? ""}>
      <header>
        <h3>
          <button type="button" class="link-button" onClick={() => show(report)}>
            {title}
          </button>
        </h3>
        <strong class="report-total">
          {totalMs === null ? "still under way" : `${atLeast ? "≥ " : ""}${durationInWords(totalMs)}`}
        </strong>
      </header>
      <p class="quiet">
        {clockTime(from, false)}
        {to === null ? "" : ` to ${clockTime(to, false)}`}
      </p>
      <div class="bar phases">
        {phases.map((phase) => (
          <button
            key={phase.name}
            type="button"
            class={PHASE_TONE[phase.name] ?? "unknown"}
            style={{ flexGrow: Math.max(phase.ms ?? 0, (totalMs ?? 0) * 0.012, 1) }}
            aria-label={`${phase.label}: ${phase.ms === null ? "under way" : durationInWords(phase.ms)}`}
            title={`${phase.label}: ${phase.ms === null ? "under way" : durationInWords(phase.ms)}`}
            onClick={() => toRecord(phase.record, phase.from)}
          />
        ))}
      </div>
      <ul class="legend">
        {phases.map(({ name, label, ms }) => (
          <li key={name} data-phase={name} data-ms={ms ?? ""}>
            <span class={`swatch ${PHASE_TONE[name] ?? "unknown"}`} aria-hidden="true" />
            {label} <b>{ms === null ? "…" : durationInWords(ms)}</b>
          </li>
        ))}
      </ul>
      <ul class="cost">
        <li>
          <Icon name={clients.errors.count === 0 ? "check" : "warn"} />
          {clientsInWords(clients)}
        </li>
        {chunksAtRisk.most > 0 && (
          <li>
            <Icon name="warn" /> {chunksAtRisk.most.toLocaleString("en")} chunks short
            {chunksAtRisk.fewestCopies === null ? "" : `, the worst with ${chunksAtRisk.fewestCopies} good copies`}
            {chunksAtRisk.ms === null ? ", still" : `, for ${durationInWords(chunksAtRisk.ms)}`}
          </li>
        )}
        {copies.healed + copies.failed + copies.cancelled > 0 && (
          <li>
            <Icon name="check" /> {copies.healed.toLocaleString("en")} copies made
            {copies.failed > 0 ? `, ${copies.failed} tries failed` : ""}
            {copies.cancelled > 0 ? `, ${copies.cancelled} no longer needed` : ""}
          </li>
        )}
        {between.count > 0 && (
          <li class="quiet">
            <Icon name="refresh" /> Between nodes: {codesInWords(between)}, tried again by themselves
          </li>
        )}
      </ul>
      {because.length > 0 && <p class="because">{because.join(" ")}</p>}
    </li>
  );
}

const codesInWords = ({ byCode }: Damage): string =>
  Object.entries(byCode)
    .map(([code, count]) => `${count.toLocaleString("en")} ${code}`)
    .join(", ");

/** What it cost the clients. */
function clientsInWords({ errors, refused, longestWaitMs }: Report["clients"]): string {
  const parts = [
    errors.count === 0 ? "0 errors" : `${errors.count.toLocaleString("en")} errors (${codesInWords(errors)})`,
    refused.count > 0 ? `${codesInWords(refused)} for their own requests` : "",
    !longestWaitMs ? "" : `longest wait ${durationInWords(longestWaitMs)}`,
  ];
  return `Clients: ${parts.filter(Boolean).join(", ")}`;
}
