/**
 * A master as a member of the Raft group: its role, and how it changes.
 *
 *     follower ─▶ precandidate ─▶ candidate ─▶ leader        back to follower by a higher term or a silent quorum
 *
 * States handle messages of their own term only; the rule for other terms is written once, at the root. What messages
 * do to the log and to the books is in `rules/raft`, as pure functions; here they are named and put in their place.
 * Nothing is sent or stored by an action: effects go to the host's queue and leave after the step, in order.
 */
import { and, not, raise, setup } from "xstate";
import {
  adoptTerm,
  answerOwnTerm,
  answerPreVote,
  answerVote,
  askPreVotes,
  countPreVote,
  countVote,
  drawTimeout,
  grantsVote,
  hasVoteQuorum,
  isSticky,
  isVoteLost,
  mayCampaign,
  raisesTerm,
  startElection,
  waitAnew,
  waitLeftMs,
} from "../../rules/raft/election.ts";
import { checkStep } from "../../rules/raft/invariants.ts";
import { compact } from "../../rules/raft/log-tail.ts";
import { forgetMember } from "../../rules/raft/membership.ts";
import { votersOf } from "../../rules/raft/quorum.ts";
import { beat, read, refuseRead } from "../../rules/raft/reads.ts";
import {
  advanceCommit,
  followAppend,
  followBeat,
  followSnapshotOffer,
  handOver,
  leaveOffice,
  noteAppendReply,
  noteBeatReply,
  noteFlushed,
  noteSnapshotInstalled,
  noteSnapshotReply,
  noteUnreachable,
  propose,
  quorumPatienceMs,
  refuseProposals,
  startTransfer,
  takeOffice,
} from "../../rules/raft/replication.ts";
import {
  chain,
  type Effect,
  type RaftEvent,
  type RaftState,
  type RpcEvent,
  type Step,
} from "../../rules/raft/state.ts";

/** What the machine needs of its host: a clock, chance, and somewhere to put what it wants done. */
export interface RaftPorts {
  now(): number;
  /** Uniform in [0, 1). */
  random(): number;
  /** Its files are known to be whole: it may stand for election. */
  mayLead(): boolean;
  effects: Effect[];
}

export interface RaftContext extends RaftState {
  ports: RaftPorts;
}

type EventOf<T extends RaftEvent["type"]> = Extract<RaftEvent, { type: T }>;

const raftSetup = setup({
  types: { context: {} as RaftContext, input: {} as RaftContext, events: {} as RaftEvent },
});

/**
 * The one bridge between pure handlers and the machine: the patch is assigned, the effects are queued. A step that breaks
 * an invariant leaves nothing behind: it throws before either, and the driver carries out no effect any more.
 */
export const handle = <E extends RaftEvent>(handler: (state: RaftContext, event: E) => Step) =>
  raftSetup.assign(({ context, event }) => {
    const { patch = {}, effects = [] } = handler(context, event as E);
    checkStep(context, patch);
    context.ports.effects.push(...effects);
    return patch;
  });

const MAY_COME_LATE: RaftEvent["type"][] = [
  ...(["rpc.preVoteReply", "rpc.voteReply", "rpc.appendReply", "rpc.beatReply", "rpc.snapshotReply"] as const),
  ...(["rpc.timeoutNow", "host.late", "peer.unreachable", "admin.forget", "admin.transfer"] as const),
];

const isRpc = (event: RaftEvent): event is RpcEvent => event.type.startsWith("rpc.");

export const raftMachine = raftSetup
  .extend({
    guards: {
      isOnlyVoter: ({ context }) => votersOf(context.configuration).join() === context.id,
      mayCampaign: ({ context }) => mayCampaign(context) && context.ports.mayLead(),
      hasVoteQuorum: ({ context }) => hasVoteQuorum(context),
      isVoteLost: ({ context }) => isVoteLost(context),
      isSticky: ({ context, event }) => isRpc(event) && isSticky(context, event, false),
      isSameTerm: ({ context, event }) => isRpc(event) && event.message.term === context.term,
      raisesTerm: ({ context, event }) => isRpc(event) && raisesTerm(context, event),
      raisesTermUnopposed: and([not("isSticky"), "raisesTerm"]),
      isLowerTerm: ({ context, event }) => isRpc(event) && event.message.term < context.term,
      grantsVote: ({ context, event }) => event.type === "rpc.vote" && grantsVote(context, event.message),
      answersOurPreVote: ({ context, event }) =>
        event.type === "rpc.preVoteReply" && event.message.forTerm === context.term + 1 && !raisesTerm(context, event),
      isQuorumActive: ({ context }) => quorumPatienceMs(context, context.ports.now()) > 0,
      hasHeard: ({ context }) => context.waitsAnewFrom !== null,
      isTermStartApplied: ({ context }) => context.appliedIndex >= context.termStartIndex,
      wantsTransfer: ({ context }) => context.transferTo !== null,
    },
    actions: {
      waitAnew: handle((state) => waitAnew(state, state.ports.now())),
      drawTimeout: handle((state) => drawTimeout(state, state.ports.random())),
      adoptTerm: handle<RpcEvent>(adoptTerm),
      handleAgain: raise(({ event }) => event),
      answerOwnTerm: handle<RpcEvent>(answerOwnTerm),
      answerPreVote: handle<EventOf<"rpc.preVote">>((state, { message }) => answerPreVote(state, message, false)),
      refusePreVote: handle<EventOf<"rpc.preVote">>((state, { message }) => answerPreVote(state, message, true)),
      answerVote: handle<EventOf<"rpc.vote">>((state, { message, at }) => answerVote(state, message, at)),
      askPreVotes: handle(askPreVotes),
      startElection: handle(startElection),
      markTransfer: handle(() => ({ patch: { isTransfer: true } })),
      countPreVote: handle<EventOf<"rpc.preVoteReply">>((state, { message }) => countPreVote(state, message)),
      countVote: handle<EventOf<"rpc.voteReply">>((state, { message }) => countVote(state, message)),
      followAppend: handle(followAppend),
      followBeat: handle(followBeat),
      followSnapshotOffer: handle(followSnapshotOffer),
      noteSnapshotInstalled: handle(noteSnapshotInstalled),
      takeOffice: handle((state) => takeOffice(state, state.ports.now())),
      leaveOffice: handle(leaveOffice),
      sendBeats: handle(beat),
      noteBeatReply: handle(noteBeatReply),
      noteAppendReply: handle(noteAppendReply),
      forgetMember: handle<EventOf<"admin.forget">>((state, { id }) => forgetMember(state, id)),
      noteSnapshotReply: handle(noteSnapshotReply),
      noteUnreachable: handle<EventOf<"peer.unreachable">>((state, { id }) => noteUnreachable(state, id)),
      propose: handle(propose),
      refuseProposals: handle(refuseProposals),
      read: handle(read),
      refuseRead: handle(refuseRead),
      noteFlushed: handle<EventOf<"disk.flushed">>((state, event) => noteFlushed(state, event, false)),
      noteOwnFlushed: handle<EventOf<"disk.flushed">>((state, event) => noteFlushed(state, event, true)),
      noteCompacted: handle<EventOf<"log.compacted">>((state, { index }) => ({
        patch: { log: compact(state.log, index) },
      })),
      startTransfer: handle<EventOf<"admin.transfer">>((state, { to }) =>
        chain(state, startTransfer(state, to), handOver),
      ),
      abandonTransfer: handle(() => ({ patch: { transferTo: null } })),
      recountCommit: handle(advanceCommit),
    },
    delays: {
      electionTimeoutMs: ({ context }) => context.electionTimeoutMs,
      trustMs: ({ context }) => waitLeftMs(context, context.timings.electionMs, context.ports.now()),
      doubtMs: ({ context }) => waitLeftMs(context, context.electionTimeoutMs, context.ports.now()),
      electionMs: ({ context }) => context.timings.electionMs,
      heartbeatMs: ({ context }) => context.timings.heartbeatMs,
      quorumPatienceMs: ({ context }) => Math.max(1, quorumPatienceMs(context, context.ports.now())),
    },
  })
  .createMachine({
    id: "raft",
    // Answers to what was asked in a state that is left behind; and what only a leader has a use for.
    meta: { mayComeLate: MAY_COME_LATE },
    context: ({ input }) => input,
    initial: "booting",
    on: {
      "rpc.preVote": [
        {
          guard: "isSticky",
          actions: "refusePreVote",
          description: "A leader is heard: nobody is wanted in its place.",
        },
        { actions: "answerPreVote" },
      ],
      "rpc.*": [
        { guard: "isSticky", description: "Trusts its leader: the candidate's term is not even taken up." },
        { guard: "raisesTerm", target: ".follower", actions: ["adoptTerm", "handleAgain"] },
        { guard: "isLowerTerm", actions: "answerOwnTerm" },
      ],
      "client.propose": { actions: "refuseProposals" },
      "client.read": { actions: "refuseRead" },
      "disk.flushed": { actions: "noteFlushed" },
      "disk.failed": { target: ".stopped" },
      "log.compacted": { actions: "noteCompacted" },
      "snapshot.installed": { actions: "noteSnapshotInstalled" },
    },
    states: {
      booting: {
        description: "Its files are read; a group of one needs no election timeout.",
        always: [{ guard: and(["isOnlyVoter", "mayCampaign"]), target: "candidate" }, { target: "follower" }],
      },
      follower: {
        description:
          "Takes entries from the leader and answers votes; campaigns when it hears of no leader for too long.",
        initial: "trusting",
        on: {
          "rpc.vote": [{ guard: "isSticky" }, { guard: "isSameTerm", actions: "answerVote" }],
          "rpc.append": { guard: "isSameTerm", actions: "followAppend" },
          "rpc.beat": { guard: "isSameTerm", actions: "followBeat" },
          "rpc.snapshotOffer": { guard: "isSameTerm", actions: "followSnapshotOffer" },
          "rpc.timeoutNow": {
            guard: and(["isSameTerm", "mayCampaign"]),
            target: "candidate",
            actions: "markTransfer",
          },
          "rpc.*": {
            guard: "raisesTermUnopposed",
            actions: ["adoptTerm", "handleAgain"],
            description: "A later term; the election timer runs on until there is a leader or a vote given.",
          },
        },
        states: {
          trusting: {
            description:
              "Came here, heard its leader or gave a vote less than the shortest election time ago, as far as its timer knows.",
            entry: "waitAnew",
            after: { trustMs: [{ guard: "hasHeard", target: "trusting", reenter: true }, { target: "doubting" }] },
          },
          doubting: {
            description: "Heard nothing for that long, and waits on for a time drawn by chance.",
            entry: "drawTimeout",
            after: {
              doubtMs: [
                { guard: "hasHeard", target: "trusting" },
                { guard: "mayCampaign", target: "#raft.precandidate" },
                { target: "trusting" },
              ],
            },
          },
        },
      },
      precandidate: {
        description: "Asks whether it would be elected, without disturbing anyone's term.",
        entry: ["drawTimeout", "askPreVotes"],
        always: { guard: "hasVoteQuorum", target: "candidate" },
        on: {
          "rpc.preVoteReply": { guard: "answersOurPreVote", actions: "countPreVote" },
          "rpc.vote": [
            { guard: "isSticky" },
            { guard: "grantsVote", target: "follower", actions: "answerVote" },
            { guard: "isSameTerm", actions: "answerVote" },
          ],
          "rpc.append": { guard: "isSameTerm", target: "follower", actions: "handleAgain" },
          "rpc.beat": { guard: "isSameTerm", target: "follower", actions: "handleAgain" },
          "rpc.snapshotOffer": { guard: "isSameTerm", target: "follower", actions: "handleAgain" },
        },
        after: { electionTimeoutMs: { target: "precandidate", reenter: true } },
      },
      candidate: {
        description: "Asks for votes in a term of its own.",
        entry: ["drawTimeout", "startElection"],
        always: [
          { guard: "hasVoteQuorum", target: "leader" },
          { guard: "isVoteLost", target: "follower" },
        ],
        on: {
          "rpc.voteReply": { guard: "isSameTerm", actions: "countVote" },
          "rpc.vote": { guard: "isSameTerm", actions: "answerVote" },
          "rpc.append": { guard: "isSameTerm", target: "follower", actions: "handleAgain" },
          "rpc.beat": { guard: "isSameTerm", target: "follower", actions: "handleAgain" },
          "rpc.snapshotOffer": { guard: "isSameTerm", target: "follower", actions: "handleAgain" },
        },
        after: { electionTimeoutMs: { target: "precandidate" } },
      },
      leader: {
        description: "Puts commands in order and feeds the followers.",
        type: "parallel",
        entry: "takeOffice",
        exit: "leaveOffice",
        on: {
          "rpc.preVote": { actions: "refusePreVote" },
          "rpc.vote": { guard: "isSameTerm", actions: "answerVote" },
          "rpc.appendReply": { guard: "isSameTerm", actions: "noteAppendReply" },
          "rpc.beatReply": { guard: "isSameTerm", actions: "noteBeatReply" },
          "rpc.snapshotReply": { guard: "isSameTerm", actions: "noteSnapshotReply" },
          "peer.unreachable": { actions: "noteUnreachable" },
          "admin.forget": { actions: "forgetMember" },
          "client.propose": [{ guard: "wantsTransfer", actions: "refuseProposals" }, { actions: "propose" }],
          "client.read": { actions: "read" },
          "disk.flushed": { actions: "noteOwnFlushed" },
          "host.late": { target: "follower" },
        },
        states: {
          beating: {
            description: "Tells the others that it is there.",
            initial: "waiting",
            states: {
              waiting: {
                description: "Until the next beat.",
                after: { heartbeatMs: { target: "waiting", reenter: true, actions: "sendBeats" } },
              },
            },
          },
          quorum: {
            description: "Watches whether a majority still answers.",
            initial: "watching",
            states: {
              watching: {
                description: "Until the last answers of a majority are an election period old.",
                after: {
                  quorumPatienceMs: [
                    { guard: "isQuorumActive", target: "watching", reenter: true },
                    { target: "#raft.follower", description: "No majority answered: someone else may lead by now." },
                  ],
                },
              },
            },
          },
          office: {
            description: "May it answer reads and steward the cluster?",
            initial: "opening",
            states: {
              opening: {
                description: "Its term's first entry is not applied yet: what came before is not known for sure.",
                always: { guard: "isTermStartApplied", target: "ready" },
              },
              ready: { description: "Everything committed before is applied: reads, placement and repair are open." },
            },
          },
          transfer: {
            description: "Is leadership being handed over?",
            initial: "idle",
            states: {
              idle: {
                description: "No.",
                on: { "admin.transfer": { target: "active", actions: "startTransfer" } },
              },
              active: {
                description: "Takes no proposals; the target catches up and is told to campaign.",
                after: { electionMs: { target: "idle", actions: "abandonTransfer" } },
              },
            },
          },
        },
      },
      stopped: { type: "final", description: "Its disk failed: it says nothing more." },
    },
  });
