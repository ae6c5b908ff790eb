/** The masters as a group. Each is asked by itself, so that the view is there even while no master leads. */
import type { MasterMailbox, MasterStatusAnswer } from "../../actors/messages/master.ts";
import type { Configuration } from "../../actors/messages/raft.ts";
import type { Identity } from "../../actors/node/identity/identity.ts";
import { send } from "../../actors/node/messaging/outbox.ts";
import { highestBelievable } from "../../actors/rules/term.ts";
import type { MastersView, MasterView } from "../ports/operations.ts";

const ASK_TIMEOUT_MS = 1000;

const statusOf = (identity: Identity, url: string): Promise<MasterStatusAnswer | null> =>
  send<typeof MasterMailbox, "MASTER_STATUS">(
    identity,
    url,
    { type: "MASTER_STATUS" },
    { timeoutMs: ASK_TIMEOUT_MS },
  ).catch(() => null);

/**
 * Asks every master about itself, also those that only other masters know of.
 *
 * @param known id → url, of config.json and of what was heard since
 */
export async function askMasters(identity: Identity, known: ReadonlyMap<string, string>): Promise<MastersView> {
  const statuses = new Map<string, MasterStatusAnswer | null>();
  const urls = new Map(known);
  for (;;) {
    const unasked = [...urls].filter(([id]) => !statuses.has(id));
    if (unasked.length === 0) return viewOf(urls, statuses);
    await Promise.all(
      unasked.map(async ([id, url]) => {
        statuses.set(id, await statusOf(identity, url));
      }),
    );
    for (const status of statuses.values())
      for (const [id, { url }] of Object.entries(status?.configuration?.nodes ?? {}))
        if (!urls.has(id)) urls.set(id, url);
  }
}

/** Of the masters' accounts of the group, the leader's counts; without a leader that of the highest term. */
function viewOf(urls: Map<string, string>, statuses: Map<string, MasterStatusAnswer | null>): MastersView {
  const told = [...statuses.values()].filter((status) => status !== null);
  const believable = highestBelievable(told.map((status) => status.term));
  const answered = told.filter((status) => status.term <= believable);
  const [authority] = answered.toSorted(
    (a, b) =>
      Number(b.role === "leader") - Number(a.role === "leader") || b.term - a.term || b.commitIndex - a.commitIndex,
  );
  const configuration: Configuration | null = authority?.configuration ?? null;
  const term = Math.max(0, ...answered.map((status) => status.term));
  const leads = answered.find((status) => status.role === "leader" && status.term === term);
  const committed = Math.max(0, ...answered.map(({ commitIndex }) => commitIndex));
  const masters = [...urls].map(([id, url]): MasterView => {
    const status = statuses.get(id) ?? null;
    return {
      id,
      url,
      member: memberOf(configuration, id),
      role: status?.role ?? "unknown",
      term: status?.term ?? null,
      leader: status?.leader ?? null,
      commitIndex: status?.commitIndex ?? null,
      appliedIndex: status?.appliedIndex ?? null,
      lastIndex: status?.lastIndex ?? null,
      lag: status ? committed - Math.min(committed, status.appliedIndex) : null,
      stateAgeMs: status?.stateAgeMs ?? null,
    };
  });
  return { leader: leads?.id ?? null, term, masters: masters.sort((a, b) => (a.id < b.id ? -1 : 1)) };
}

function memberOf(configuration: Configuration | null, id: string): MasterView["member"] {
  if (configuration === null) return "unknown";
  if (configuration.voters.some((set) => set.includes(id))) return "voter";
  if (configuration.learners.includes(id)) return "learner";
  return configuration.retired?.includes(id) ? "removed" : "none";
}
