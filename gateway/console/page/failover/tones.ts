/** What a state means, as a colour: passive, good, wary, trouble, down, unknown. A state without a tone of its own is passive. */
export type Tone = "passive" | "good" | "wary" | "trouble" | "down" | "unknown";

const TONES: Record<string, Record<string, Tone>> = {
  raft: {
    booting: "unknown",
    follower: "passive",
    learner: "passive",
    installing: "wary",
    precandidate: "wary",
    candidate: "trouble",
    leader: "good",
    quarantined: "down",
    stopped: "down",
  },
  worker: {
    starting: "wary",
    registering: "wary",
    serving: "good",
    draining: "wary",
    stopped: "unknown",
    orphaned: "trouble",
  },
  liveness: { unknown: "unknown", live: "good", suspect: "wary", dead: "down", draining: "wary", maintenance: "wary" },
  repair: { queued: "unknown", healed: "good", failed: "down", cancelled: "unknown" },
  steward: { safeMode: "wary", steady: "good", repairing: "trouble", rebalancing: "passive", paused: "down" },
  reach: { reachable: "good", unknown: "unknown" },
  upload: { sealing: "wary", committing: "wary", done: "good", failed: "down" },
};

/** Words that say more than their neighbours: shown although they are deep inside. */
const TELLING = new Set(["full", "readOnly", "opening", "draining", "maintenance", "removed", "transferring"]);

/** `leader.office.ready|leader.beating.waiting` → `leader`; `heard.live.listening|duty.draining` → `live, draining`. Pure. */
export function shortState(value: string): string {
  const parts = value.split("|").map((part) => part.split("."));
  const [first = [""]] = parts;
  if (parts.length === 1) return first.slice(0, 2).join(" · ");
  const shared = parts.every(([top]) => top === first[0]) ? first[0] : undefined;
  const words = shared !== undefined ? [shared] : parts.slice(0, 1).map((part) => part[1] ?? part[0] ?? "");
  for (const part of parts) for (const word of part.slice(1)) if (TELLING.has(word)) words.push(word);
  return [...new Set(words)].join(", ");
}

export function toneOf(machine: string, value: string): Tone {
  const tones = TONES[machine];
  if (!tones) return "passive";
  const words = value.split(/[|.]/);
  if (machine === "worker" && words.some((word) => word === "full" || word === "readOnly")) return "wary";
  const known = words.map((word) => tones[word]).filter((tone) => tone !== undefined);
  return known.find((tone) => tone !== "good" && tone !== "passive") ?? known[0] ?? "passive";
}
