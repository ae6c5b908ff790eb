/** Answers about names from a master that does not lead: from a state of a bounded age, which the answer states. */

import { Refusal } from "../../messages/errors.ts";
import type { MasterMailbox } from "../../messages/master.ts";
import type { Handlers } from "../../node/messaging/mailbox.ts";
import type { Freshness } from "./freshness.ts";
import type { RaftMetadata } from "./raft-metadata.ts";

type Reads = Pick<Handlers<typeof MasterMailbox>, "STAT" | "LOCATE" | "LIST">;

/** All throw NOT_LEADER if the state is older than `maxStaleMs` or than the page before, or of unknown age. */
export function staleReads(metadata: RaftMetadata, freshness: Freshness, maxStaleMs: number): Reads {
  const bounded = (): { index: number; ageMs: number } => {
    const { ageMs } = freshness;
    if (ageMs === null || ageMs > maxStaleMs) throw metadata.notLeader(true, ageMs === null ? {} : { ageMs });
    return { index: metadata.appliedIndex, ageMs };
  };
  return {
    STAT: ({ path }) => ({ ...bounded(), entry: metadata.queries.stat(path) }),
    LOCATE: ({ path, etag, offset, limit }) => {
      const age = bounded();
      const located = metadata.queries.locate(path, offset, limit);
      const { entry, chunks } = located;
      if (etag !== null && (entry?.kind !== "file" || entry.etag !== etag))
        throw new Refusal("PRECONDITION_FAILED", `${path} was replaced or deleted while it was read`);
      const holders = new Set(chunks.flatMap(({ workerIds }) => workerIds));
      const workers = metadata.store
        .rows("workers", {})
        .filter(({ id }) => holders.has(id))
        .map(({ id, url, zone, liveness, mode }) => ({ id, url, zone, state: mode === "active" ? liveness : mode }));
      return { ...age, ...located, workers };
    },
    LIST: ({ prefix, delimiter, after, minIndex, limit }) => {
      const age = bounded();
      if (age.index < minIndex) throw metadata.notLeader(true, { ageMs: age.ageMs });
      return { ...age, ...metadata.queries.list({ prefix, delimiter, after, limit }) };
    },
  };
}
