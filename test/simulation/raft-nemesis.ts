/** What goes wrong in a simulated group of masters, and what an operator does meanwhile: when and to whom, by chance. */
import type { Configuration } from "../../actors/messages/raft.ts";
import { removedMembers } from "../../actors/rules/raft/membership.ts";
import { membersOf } from "../../actors/rules/raft/quorum.ts";
import type { DiskTrouble, Master, RaftGroup } from "./raft-group.ts";

const isRetired = ({ retired = [] }: Configuration, id: string): boolean => retired.includes(id);

export class RaftNemesis {
  readonly #group: RaftGroup;
  readonly #chance: () => number;

  constructor(group: RaftGroup) {
    this.#group = group;
    this.#chance = group.chance;
  }

  begin(): void {
    const { knobs } = this.#group;
    const every = this.#group.every.bind(this.#group);
    every("crashes", knobs.crashEveryMs, () => this.#crashSomeone());
    every("partitions", knobs.partitionEveryMs, () => this.#partition());
    every("pauses", knobs.pauseEveryMs, () => this.#pauseSomeone());
    every("disk trouble", knobs.diskTroubleEveryMs, () => this.#troubleSomeone());
    every("transfers", knobs.transferEveryMs, () => this.#transferSomewhere());
    every("membership", knobs.membershipEveryMs, () => this.#changeSomewhere());
  }

  #someone(): Master {
    return this.#group.masters[Math.floor(this.#chance() * this.#group.masters.length)] as Master;
  }

  #leaderOrSomeone(): Master {
    const leader = this.#group.leader();
    return leader && this.#chance() < 0.5 ? leader : this.#someone();
  }

  #partition(): void {
    this.#group.heal();
    const random = this.#chance;
    const dice = random();
    if (dice < 0.3) return;
    if (dice < 0.55) this.#group.isolate(this.#someone().id);
    else if (dice < 0.75) this.#group.isolate((this.#group.leader() ?? this.#someone()).id);
    else {
      // Asymmetric and partial cuts: each direction for itself.
      for (const a of this.#group.masters)
        for (const b of this.#group.masters) if (a !== b && random() < 0.3) this.#group.cut.add(`${a.id}→${b.id}`);
    }
  }

  #crashSomeone(): void {
    this.crashFor(this.#leaderOrSomeone(), this.#chance() * 3000);
  }

  /** It is started again after that time. */
  crashFor(victim: Master, ms: number): void {
    if (!victim.driver) return;
    this.#group.crash(victim);
    this.#startAfter(victim, ms);
  }

  #startAfter(victim: Master, ms: number): void {
    const { incarnation } = victim;
    this.#group.world.schedule(ms, () => {
      if (victim.driver === null && victim.incarnation === incarnation) this.#group.start(victim);
    });
  }

  #pauseSomeone(): void {
    const victim = this.#leaderOrSomeone();
    if (!victim.driver || victim.late) return;
    this.#group.pause(victim);
    const { incarnation } = victim;
    this.#group.world.schedule(this.#chance() ** 2 * 6000, () => {
      if (victim.incarnation === incarnation) this.#group.resume(victim);
    });
  }

  #troubleSomeone(): void {
    const victim = this.#leaderOrSomeone();
    const kinds: DiskTrouble[] = ["slow", "stuck", "error"];
    const kind = kinds[Math.floor(this.#chance() * kinds.length)] as DiskTrouble;
    const ms = this.#chance() * 5000;
    if (!victim.driver || victim.diskTrouble) return;
    victim.diskTrouble = kind;
    const { incarnation } = victim;
    this.#group.world.schedule(ms, () => {
      if (victim.driver === null) this.#group.start(victim);
      else if (victim.incarnation === incarnation) this.#group.mendDisk(victim);
    });
  }

  #transferSomewhere(): void {
    const leader = this.#group.leader();
    const to = this.#someone();
    if (!leader || leader === to) return;
    this.#group.transfer(leader, to.id);
    // Cutting the leader from its successor, or either's death, is when transfers go wrong.
    if (this.#chance() < 0.3) this.crashFor(this.#chance() < 0.5 ? leader : to, this.#chance() * 2000);
  }

  #changeSomewhere(): void {
    const leader = this.#group.leader();
    if (!leader?.driver || leader.late) return;
    const { state } = leader.driver;
    // The desk lets those go who know that they are out.
    for (const id of removedMembers(state))
      if ((state.progress[id]?.match ?? 0) >= state.configurationIndex) this.#group.forget(leader, id);
    const { configuration } = state;
    const [voters = []] = configuration.voters;
    const random = this.#chance;
    const oneOf = (ids: readonly string[]): string => ids[Math.floor(random() * ids.length)] as string;
    const spare = this.#group.masters.find(
      ({ id }) => !membersOf(configuration).includes(id) && !isRetired(configuration, id),
    );
    const dice = random();
    if (configuration.learners.length > 0 && dice < 0.6)
      this.#group.change(leader, { kind: "promote", id: oneOf(configuration.learners) });
    else if (spare && dice < 0.8) this.#group.change(leader, { kind: "addLearner", id: spare.id });
    else if (voters.length > 2) this.#group.change(leader, { kind: "remove", id: oneOf(voters) });
  }
}
