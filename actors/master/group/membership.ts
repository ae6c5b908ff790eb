/**
 * The members of the group, as the leader runs them: writes down where each member is and what it knows, promotes learners that
 * have caught up, lets removed ones go, and carries out what operators ask for.
 */
import { Refusal } from "../../messages/errors.ts";
import type { NodeId } from "../../messages/primitives.ts";
import type { Configuration } from "../../messages/raft.ts";
import type { Logger } from "../../node/log.ts";
import {
  beginWatch,
  type LearnerPatience,
  type LearnerWatch,
  type MembershipChange,
  planChange,
  removedMembers,
  watchLearner,
} from "../../rules/raft/membership.ts";
import { isVoter, membersOf, votersOf } from "../../rules/raft/quorum.ts";
import type { RaftMetadata } from "./raft-metadata.ts";
import type { Heard } from "./raft-transport.ts";

const TICK_MS = 200;
const TRANSFER_POLL_MS = 10;
/** For how long a removed master that does not answer is sent the news that it is out. */
const FAREWELL_MS = 10_000;
/** A learner that does not catch up within this is removed again. */
const LEARNER_PATIENCE: LearnerPatience = { silentMs: 60_000, roundMs: 30 * 60_000, slowRounds: 10 };

interface Parts {
  metadata: RaftMetadata;
  /** This master, as it tells the others. */
  self: Pick<Heard, "url" | "incarnation">;
  heard(id: NodeId): Heard | null;
  log: Logger;
  patience?: LearnerPatience;
}

export class Membership {
  readonly #parts: Parts;
  readonly #timer: Timer;
  readonly #leavingSince = new Map<NodeId, number>();
  readonly #watched = new Map<NodeId, LearnerWatch>();

  constructor(parts: Parts) {
    this.#parts = parts;
    this.#timer = setInterval(() => this.#tick(), TICK_MS);
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  get #state() {
    return this.#parts.metadata.raft.state;
  }

  /**
   * Adds, promotes or removes. Asking again for what is so already changes nothing.
   *
   * @throws MASTERS_UNCHANGED with the reason; NO_SUCH_MASTER; NOT_LEADER after leadership was handed over to remove this one
   */
  async change(kind: "addLearner" | "promote" | "remove", id: NodeId, url: string | null) {
    const { configuration } = this.#state;
    const members = membersOf(configuration);
    if (kind === "addLearner" && members.includes(id) && (url === null || configuration.nodes?.[id]?.url === url))
      return this.#told();
    if (kind === "addLearner" && url === null)
      throw new Refusal("MASTERS_UNCHANGED", `To add ${id}, the others must know its url`);
    if (kind === "remove" && configuration.retired?.includes(id)) return this.#told();
    if (kind !== "addLearner" && !members.includes(id))
      throw new Refusal("NO_SUCH_MASTER", `${id} does not belong to the masters`);
    if (kind === "remove" && id === this.#state.id) {
      await this.transfer(this.#successor(id));
      throw this.#parts.metadata.notLeader();
    }
    if (kind === "addLearner") await this.#make({ kind, id, url: url as string });
    else await this.#make({ kind, id });
    this.#parts.log.warn({ event: "masters-changed", change: kind, master: id }, "the group of masters was changed");
    return this.#told();
  }

  #told(): { configuration: Configuration; index: number } {
    const { configuration, configurationIndex } = this.#state;
    return { configuration, index: configurationIndex };
  }

  async #make(change: MembershipChange): Promise<void> {
    const plan = planChange(this.#state, change, performance.now());
    if ("refused" in plan) throw new Refusal("MASTERS_UNCHANGED", `The masters stay as they are: ${plan.refused}`);
    await this.#parts.metadata.proposeConfiguration(plan.configuration);
  }

  /** Of the other voters, the one that has most of the log. */
  #successor(leaving: NodeId, isAble: (id: NodeId) => boolean = () => true): NodeId {
    const { progress, configuration } = this.#state;
    const [best] = votersOf(configuration)
      .filter((id) => id !== leaving && progress[id] && isAble(id))
      .sort((a, b) => (progress[b]?.match ?? 0) - (progress[a]?.match ?? 0));
    if (!best) throw new Refusal("MASTERS_UNCHANGED", `${leaving} is the last voter and cannot be removed`);
    return best;
  }

  /** Before this master stops: a successor that is asked to lead costs the others no election timeout. */
  async handOver(): Promise<void> {
    const { metadata, log } = this.#parts;
    const { id, configuration, progress, timings } = this.#state;
    const isThere = (other: NodeId): boolean =>
      performance.now() - (progress[other]?.lastActiveAt ?? Number.NEGATIVE_INFINITY) < 3 * timings.heartbeatMs;
    if (metadata.raft.role !== "leader" || !votersOf(configuration).some((other) => other !== id && isThere(other)))
      return;
    const to = this.#successor(id, isThere);
    const leader = await this.transfer(to).catch(() => null);
    log.info({ event: "handed-over", to, leader }, leader ? `${leader} leads now` : `${to} did not take over`);
  }

  /** @throws MASTERS_UNCHANGED if the other one did not take over in time; this one leads on */
  async transfer(to: NodeId): Promise<NodeId | null> {
    const { raft } = this.#parts.metadata;
    const { id, configuration, timings } = this.#state;
    if (to === id) return id;
    if (!isVoter(configuration, to)) throw new Refusal("NO_SUCH_MASTER", `${to} is no voter of this group`);
    raft.send({ type: "admin.transfer", to });
    const deadline = performance.now() + 2 * timings.electionMs;
    while (raft.role === "leader" && performance.now() < deadline) await Bun.sleep(TRANSFER_POLL_MS);
    if (raft.role === "leader")
      throw new Refusal("MASTERS_UNCHANGED", `${to} did not take over within ${timings.electionMs} ms; ${id} leads on`);
    while (raft.state.leaderId === null && performance.now() < deadline) await Bun.sleep(TRANSFER_POLL_MS);
    return raft.state.leaderId;
  }

  #tick(): void {
    this.#letGo();
    const { configuration, configurationIndex, commitIndex, transferTo } = this.#state;
    if (configurationIndex > commitIndex || transferTo !== null) return;
    const nodes = this.#newlyHeard(configuration);
    const ready = configuration.learners.find((id) => configuration.nodes?.[id]?.incarnation);
    if (Object.keys(nodes).length > 0) this.#tryTo({ kind: "identify", nodes });
    else if (ready && this.#tryTo({ kind: "promote", id: ready })) return;
    else this.#watchLearners(configuration.learners);
  }

  /** At most one is given up a tick: changes are made one at a time. */
  #watchLearners(learners: readonly NodeId[]): void {
    const { log, patience = LEARNER_PATIENCE } = this.#parts;
    const at = performance.now();
    for (const id of this.#watched.keys()) if (!learners.includes(id)) this.#watched.delete(id);
    for (const id of learners) {
      const watch = watchLearner(this.#state, id, this.#watched.get(id) ?? beginWatch(this.#state, at), at, patience);
      if (!("givenUp" in watch)) {
        this.#watched.set(id, watch);
        continue;
      }
      if (!this.#tryTo({ kind: "remove", id })) continue;
      this.#watched.delete(id);
      log.error(
        { event: "learner-given-up", master: id, reason: watch.givenUp },
        `${id} is not taken in: ${watch.givenUp}`,
      );
      return;
    }
  }

  /** @returns false: not yet; the next tick tries again */
  #tryTo(change: MembershipChange): boolean {
    const plan = planChange(this.#state, change, performance.now());
    if ("refused" in plan) return false;
    if (change.kind === "promote")
      this.#parts.log.warn({ event: "master-promoted", master: change.id }, "a learner has caught up and votes now");
    this.#parts.metadata.proposeConfiguration(plan.configuration).catch((err) => {
      this.#parts.log.info({ event: "masters-unchanged", err }, "a change of the masters was not committed here");
    });
    return true;
  }

  /** Members whose address or data directory the group does not know yet. */
  #newlyHeard({ nodes = {}, ...configuration }: Configuration): NonNullable<Configuration["nodes"]> {
    const { self, heard } = this.#parts;
    const told = membersOf(configuration).flatMap((id) => {
      const { url, incarnation } = (id === this.#state.id ? self : heard(id)) ?? {};
      const known = nodes[id];
      if (url === undefined || incarnation === undefined) return [];
      if (known?.incarnation && known.incarnation !== incarnation) return [];
      return known?.url === url && known.incarnation === incarnation ? [] : [[id, { url, incarnation }] as const];
    });
    return Object.fromEntries(told);
  }

  #letGo(): void {
    const { raft } = this.#parts.metadata;
    const { progress, configurationIndex, commitIndex } = this.#state;
    if (configurationIndex > commitIndex) return;
    for (const id of removedMembers(this.#state)) {
      const since = this.#leavingSince.get(id) ?? performance.now();
      this.#leavingSince.set(id, since);
      const knows = (progress[id]?.match ?? 0) >= configurationIndex;
      if (!knows && performance.now() - since < FAREWELL_MS) continue;
      this.#leavingSince.delete(id);
      raft.send({ type: "admin.forget", id });
    }
  }
}
