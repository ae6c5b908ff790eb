/**
 * What was refused or failed, by who heard it: clients, or nodes, which try again by themselves. A master that
 * does not lead says so to every node that asks; no client ever sees that. Pure; runs in a browser.
 */

import { ErrorCodes, isErrorCode } from "../../actors/messages/errors.ts";
import { recordId } from "../../actors/rules/record-id.ts";
import type { Damage, RefusalEntry, RefusalList, StepRecord } from "./api.ts";
import { countByCode } from "./count-by-code.ts";
import { lastMs } from "./order.ts";

/** Gateways name a client's request by method and route, nodes name a message by its type. */
const isToClient = ({ d }: StepRecord): boolean => /^[A-Z]+ \//.test(String(d?.request ?? ""));

/** The request was not at fault: it failed, or the cluster could not serve it then. */
const isError = ({ v, e }: StepRecord): boolean => v === "failed" || (isErrorCode(e) && ErrorCodes[e].status >= 500);

const isRefusal = ({ k }: StepRecord): boolean => k === "refused";

function damageOf(told: readonly StepRecord[]): Damage {
  return {
    count: told.reduce((sum, { r = 1 }) => sum + r, 0),
    byCode: countByCode(told.map(({ e, r = 1 }) => [e, r] as const)),
    first: told[0]?.t ?? null,
    last: told.length === 0 ? null : Math.max(...told.map(lastMs)),
  };
}

/** @param records those of the time in question, in order */
export function damageAmong(records: readonly StepRecord[]): { errors: Damage; refused: Damage; between: Damage } {
  const told = records.filter(isRefusal);
  const toClients = told.filter(isToClient);
  return {
    errors: damageOf(toClients.filter(isError)),
    refused: damageOf(toClients.filter((record) => !isError(record))),
    between: damageOf(told.filter((record) => !isToClient(record))),
  };
}

/** @returns the longest that a client waited for an answer within a span, ms; null: these records do not say */
export function longestWaitMs(records: readonly StepRecord[], from: number, to: number): number | null {
  const samples = records.filter(({ m, k }) => m === "clients" && k === "sum");
  if (samples.length === 0) return null;
  const waits = samples.flatMap(({ d }) => {
    const { longestMs, longestAt } = (d ?? {}) as { longestMs?: unknown; longestAt?: unknown };
    return typeof longestMs === "number" && typeof longestAt === "number" ? [{ longestMs, longestAt }] : [];
  });
  return waits
    .filter(({ longestMs, longestAt }) => longestAt >= from && longestAt - longestMs <= to)
    .reduce((most, { longestMs }) => Math.max(most, longestMs), 0);
}

/**
 * @param records in order
 * @param timeOf when one happened, ms since the epoch
 * @returns newest first
 */
export function refusalsOf(
  records: readonly StepRecord[],
  timeOf: (record: StepRecord) => number = lastMs,
): Omit<RefusalList, "minutes"> {
  const told = records.filter(isRefusal);
  const { errors, refused, between } = damageAmong(told);
  return {
    total: errors.count + refused.count,
    byCode: countByCode([...Object.entries(refused.byCode), ...Object.entries(errors.byCode)]),
    between: { total: between.count, byCode: between.byCode },
    entries: told
      .map(
        (record): RefusalEntry => ({
          at: timeOf(record),
          node: record.n,
          code: record.e,
          reason: String(record.d?.reason ?? ""),
          request: String(record.d?.request ?? ""),
          count: record.r ?? 1,
          failed: record.v === "failed",
          to: isToClient(record) ? "client" : "node",
          record: recordId(record),
        }),
      )
      .reverse(),
  };
}
