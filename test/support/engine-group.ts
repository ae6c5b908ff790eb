/** Several metadata engines on real files in one process, joined by a network that delivers at once or not at all. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Membership } from "../../actors/master/group/membership.ts";
import { RaftMetadata } from "../../actors/master/group/raft-metadata.ts";
import { StateCheck } from "../../actors/master/group/state-check.ts";
import type { Command } from "../../actors/messages/commands.ts";
import { Refusal } from "../../actors/messages/errors.ts";
import type { Configuration, RaftMessage } from "../../actors/messages/raft.ts";
import { decode, encode } from "../../actors/node/http/wire.ts";
import { createLogger, type Logger } from "../../actors/node/log.ts";
import { RULES, type Rules } from "../../actors/rules/decide/exactly-once.ts";
import type { LearnerPatience } from "../../actors/rules/raft/membership.ts";
import { until } from "./fair-time.ts";

export interface EngineGroupOptions {
  masters?: number;
  /** The make of the program that each runs. */
  rules?: Record<string, Rules>;
  agreement?: { tickMs: number; checkEveryMs: number };
  /** Runs membership desks, with this patience for learners. */
  patience?: LearnerPatience;
  log?: Logger;
  /** Long ones keep a leader on a busy machine, short ones find it soon. */
  timings?: { heartbeatMs: number; electionMs: number };
}

interface Member {
  id: string;
  rules: Rules;
  engine: RaftMetadata | null;
  agreement: StateCheck | null;
  membership: Membership | null;
  failure: unknown;
}

export class EngineGroup {
  readonly members: Member[];
  readonly #folder = mkdtempSync(join(tmpdir(), "dfs-engines-"));
  readonly #configuration: Configuration;
  readonly #options: EngineGroupOptions;
  readonly #log: Logger;

  constructor(options: EngineGroupOptions = {}) {
    this.#options = options;
    this.#log = options.log ?? createLogger("group", "silent");
    this.members = Array.from({ length: options.masters ?? 3 }, (_, n) => {
      const id = `master-${n + 1}`;
      return {
        id,
        rules: options.rules?.[id] ?? RULES,
        engine: null,
        agreement: null,
        membership: null,
        failure: null,
      };
    });
    this.#configuration = { voters: [this.members.map(({ id }) => id)], learners: [] };
    for (const { id } of this.members) this.start(id);
  }

  member(id: string): Member {
    return this.members.find((one) => one.id === id) as Member;
  }

  /** @throws if it stopped */
  engine(id: string): RaftMetadata {
    const { engine } = this.member(id);
    if (!engine) throw new Error(`${id} stopped`);
    return engine;
  }

  folderOf = (id: string): string => join(this.#folder, id);

  /** Starts it, or starts it again with another make of the program. */
  start(id: string, rules?: Rules): void {
    const member = this.member(id);
    member.rules = rules ?? member.rules;
    member.failure = null;
    const engine = new RaftMetadata({
      dataDirectory: this.folderOf(id),
      genesis: { clusterId: "c", nodeId: id, configuration: this.#configuration },
      timings: this.#options.timings ?? { heartbeatMs: 20, electionMs: 200 },
      keepEntries: 10_000,
      rules: member.rules,
      send: (message) => this.#deliver(message),
      urlOf: () => null,
      leaderChanged: () => {},
      sendSnapshot: () => {},
      installSnapshot: () => {},
      neededFrom: () => Number.POSITIVE_INFINITY,
      onFailure: (cause) => {
        member.failure = cause;
        setImmediate(() => this.stop(id));
      },
    });
    member.engine = engine;
    engine.start();
    const { agreement, patience } = this.#options;
    const heard = (other: string) => {
      const peer = this.members.find((one) => one.id === other);
      if (!peer?.engine) return null;
      const { incarnation, store } = peer.engine;
      return { url: `http://${other}`, incarnation, knows: peer.rules.version, mark: store.mark };
    };
    if (patience) {
      const self = { url: `http://${id}`, incarnation: engine.incarnation };
      member.membership = new Membership({ metadata: engine, self, heard, log: this.#log, patience });
    }
    if (!agreement) return;
    member.agreement = new StateCheck({ metadata: engine, heard, log: this.#log, ...agreement });
  }

  #deliver(message: RaftMessage): void {
    const bytes = encode(message);
    setImmediate(() =>
      this.members.find(({ id }) => id === message.to)?.engine?.raft.receive(decode(bytes) as RaftMessage),
    );
  }

  stop(id: string): void {
    const member = this.member(id);
    member.agreement?.stop();
    member.membership?.stop();
    member.engine?.close();
    member.engine = null;
  }

  get leader(): RaftMetadata | null {
    return this.members.find(({ engine }) => engine?.raft.isReady)?.engine ?? null;
  }

  /** Hands leadership to this one. */
  async lead(id: string): Promise<RaftMetadata> {
    await this.until(`${id} leads`, () => {
      const { leader } = this;
      if (leader?.raft.state.id !== id) leader?.raft.send({ type: "admin.transfer", to: id });
      return this.member(id).engine?.raft.isReady === true;
    });
    return this.engine(id);
  }

  /** Proposes to whoever leads, again if it leads no more by then. */
  async propose(command: Command): Promise<unknown> {
    for (;;) {
      try {
        return await (await this.untilLeader()).propose(command);
      } catch (error) {
        if (!(error instanceof Refusal) || !["NOT_LEADER", "NOT_READY"].includes(error.code)) throw error;
        await Bun.sleep(2);
      }
    }
  }

  async untilLeader(but: string[] = []): Promise<RaftMetadata> {
    await this.until("there is a leader", () => this.leader !== null && !but.includes(this.leader.raft.state.id));
    return this.leader as RaftMetadata;
  }

  async until(what: string, isSo: () => boolean | Promise<boolean>): Promise<void> {
    await until(what, isSo, { pollMs: 2 });
  }

  /** Until all that run have applied what the leader has. */
  untilEqual(): Promise<void> {
    return this.until("all have applied the same", () => {
      const applied = this.members.flatMap(({ engine }) => (engine ? [engine.appliedIndex] : []));
      return new Set(applied).size === 1;
    });
  }

  close(): void {
    for (const { id } of this.members) this.stop(id);
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
