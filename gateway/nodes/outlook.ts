/**
 * What follows from the masters' last answers: who leads, which way leads there, whether an election can end soon, or why
 * there is no leader. Pure.
 */
import type { MasterStatusAnswer } from "../../actors/messages/master.ts";
import { hasQuorum } from "../../actors/rules/raft/quorum.ts";
import { highestBelievable } from "../../actors/rules/term.ts";

/** One master, as it last answered when it was asked for its status, or did not. Times are of one monotonic clock. */
export interface Sighting {
  id: string;
  url: string;
  /** When the last question was sent, which may still be open. */
  askedAt: number;
  isOpen: boolean;
  /** The gateway itself stood still while it was open: its silence means nothing. */
  isSpoiled: boolean;
  /** When the first question was sent that got neither an answer nor a refusal; null: the last one got either. */
  silentSince: number | null;
  /** How the last question ended: with an answer, or with the reason for none. */
  answeredAt: number;
  status: MasterStatusAnswer | null;
  failure: string | null;
}

export type Outlook =
  | { kind: "leads"; url: string }
  /** The leader does not answer this gateway; the master at `via` knows it, and passes on what is meant for it. */
  | { kind: "behind"; leader: string; via: string }
  /** No master leads; a majority of them is in touch, so one will lead soon. */
  | { kind: "electing" }
  /** Not all masters have answered yet, or taken too long for it. */
  | { kind: "asking" }
  | { kind: "none"; why: string };

/** A master that leaves a question unanswered for this long is silent. */
export const SILENT_AFTER_MS = 500;
/** A slow master answers within this; only a longer silence means that it is away. */
const AWAY_AFTER_MS = 1300;
/** An older answer is worth nothing. */
const FRESH_MS = 1500;
/** Masters that hear each other and have elected none within this will not do so soon. */
const LONGEST_ELECTION_MS = 10_000;

type Hearing = "heard" | "silent" | "unknown";

function hearing({ askedAt, isOpen, answeredAt, status }: Sighting, now: number): Hearing {
  if (isOpen && now - askedAt >= SILENT_AFTER_MS) return "silent";
  if (now - answeredAt > FRESH_MS) return "unknown";
  return status === null ? "silent" : "heard";
}

const mayBeSlow = ({ silentSince }: Sighting, now: number): boolean =>
  silentSince !== null && now - silentSince < AWAY_AFTER_MS;

/** Whether this master does not answer now. */
export const isSilent = (sighting: Sighting, now: number): boolean => hearing(sighting, now) === "silent";

export function outlookOf(sightings: readonly Sighting[], now: number): Outlook {
  const heard = sightings.filter((sighting) => hearing(sighting, now) === "heard");
  const statuses = heard.map(({ status, url }) => ({ ...(status as MasterStatusAnswer), url }));
  const believable = highestBelievable(statuses.map(({ term }) => term));
  const told = statuses.filter(({ term }) => term <= believable);
  const latest = told.toSorted((a, b) => b.term - a.term);
  const leads = latest.find(({ role }) => role === "leader");
  if (leads) return { kind: "leads", url: leads.url };

  const unknown = sightings.filter((sighting) => hearing(sighting, now) === "unknown");
  const follows = latest.find(({ leader }) => leader !== null);
  if (follows) {
    const leader = follows.leader as string;
    if (heard.some(({ id }) => id === leader)) return { kind: "electing" };
    if (unknown.some(({ id }) => id === leader)) return { kind: "asking" };
    const passing = latest.find((status) => status.leader === leader && status.passesOn === true);
    if (passing) return { kind: "behind", leader, via: passing.url };
    if (unknown.length > 0) return { kind: "asking" };
    return { kind: "none", why: `${follows.id} follows ${leader}, which does not answer this gateway` };
  }

  /** Masters of older programs do not say whether they hear the others: the masters that this gateway hears stand for them. */
  const weHear = ({ configuration }: MasterStatusAnswer): boolean =>
    configuration === null || configuration === undefined
      ? 2 * heard.length > sightings.length
      : hasQuorum(configuration, (id) => heard.some((sighting) => sighting.id === id));
  const canElect = told.some(
    (status) => (status.hearsMajority ?? weHear(status)) && (status.leaderlessMs ?? 0) < LONGEST_ELECTION_MS,
  );
  if (canElect) return { kind: "electing" };
  if (unknown.length > 0 || sightings.some((sighting) => mayBeSlow(sighting, now))) return { kind: "asking" };
  return { kind: "none", why: sightings.map((sighting) => account(sighting, now)).join(", ") };
}

function account(sighting: Sighting, now: number): string {
  const { id, status, failure } = sighting;
  if (hearing(sighting, now) === "silent") return failure === null ? `${id} does not answer` : `${id} ${failure}`;
  if (status?.hearsMajority === false) return `${id} hears no majority of the masters`;
  return `${id} knows no leader`;
}
