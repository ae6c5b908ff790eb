/**
 * What is open exactly while this master leads and knows all that was committed before: the office, and the leader's part
 * in the group, who belongs to it and whether its members built the same state.
 */
import type { Config } from "../messages/config.ts";
import type { NodeId } from "../messages/primitives.ts";
import { systemClock } from "../node/clock.ts";
import type { Identity } from "../node/identity/identity.ts";
import type { Logger } from "../node/log.ts";
import { Membership } from "./group/membership.ts";
import type { RaftMetadata } from "./group/raft-metadata.ts";
import type { Heard } from "./group/raft-transport.ts";
import { seenByLeader } from "./group/seen-by-leader.ts";
import { StateCheck } from "./group/state-check.ts";
import { Office } from "./leading/office.ts";

interface Parts {
  config: Config;
  nodeId: NodeId;
  clusterId: string;
  identity: Identity;
  metadata: RaftMetadata;
  /** This master, as it tells the others. */
  self: Pick<Heard, "url" | "incarnation">;
  heard(id: NodeId): Heard | null;
  urlOf(id: NodeId): string | null;
  log: Logger;
}

interface Open {
  office: Office;
  members: Membership;
  stateCheck: StateCheck;
}

export class Leadership {
  readonly #parts: Parts;
  #open: Open | null = null;
  #isStopped = false;

  constructor(parts: Parts) {
    this.#parts = parts;
    parts.metadata.raft.actor.subscribe(() => setImmediate(() => this.#followRole()));
  }

  /** null while another master leads. */
  get office(): Office | null {
    return this.#open?.office ?? null;
  }

  /** @throws NOT_LEADER */
  inOffice(): Office {
    return this.#opened().office;
  }

  /** @throws NOT_LEADER */
  members(): Membership {
    return this.#opened().members;
  }

  #opened(): Open {
    this.#followRole();
    if (this.#open) return this.#open;
    throw this.#parts.metadata.notLeader();
  }

  #followRole(): void {
    const { metadata, log } = this.#parts;
    // A stopped machine stays in the state that it stopped in, and its last step may be followed later than that.
    const leads = metadata.raft.isReady && !this.#isStopped;
    if (leads === (this.#open !== null)) return;
    this.#close();
    if (leads) this.#open = this.#take();
    log.info({ event: leads ? "office-opened" : "office-closed", term: metadata.term }, "leadership changed");
  }

  #take(): Open {
    const { metadata, self, heard, urlOf, log } = this.#parts;
    const members = new Membership({ metadata, self, heard, log });
    const stateCheck = new StateCheck({ metadata, heard, log });
    const masters = () => seenByLeader(metadata.raft.state, urlOf, performance.now());
    const office = new Office({ ...this.#parts, masters, clock: systemClock });
    return { office, members, stateCheck };
  }

  /** Before this master stops: a successor that is asked to lead costs the others no election timeout. */
  async handOver(): Promise<void> {
    await this.#open?.members.handOver();
  }

  /** For good: from here on the metadata may be closed. */
  stop(): void {
    this.#isStopped = true;
    this.#close();
  }

  #close(): void {
    this.#open?.office.close();
    this.#open?.members.stop();
    this.#open?.stateCheck.stop();
    this.#open = null;
  }
}
