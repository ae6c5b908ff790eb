/**
 * What masters say to each other, word for word, in the situations that a reader of Raft looks for first. The dialogues lie
 * in `dialogues/`; a change of the protocol shows as a change of these files, which is to be read, not waved through.
 * `UPDATE_DIALOGUES=1 bun run test test/simulation/dialogues.test.ts` writes them.
 */
import { expect, test } from "bun:test";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { RaftMessage } from "../../actors/messages/raft.ts";
import { CALM } from "./knobs.ts";
import { RaftGroup } from "./raft-group.ts";
import { World } from "./world.ts";

/** A line of a dialogue: who says what to whom, without what never differs within one. */
function spelled(message: RaftMessage): string {
  const { type, from, to, term, ...said } = message;
  const words = Object.entries(said).flatMap(([name, value]) => {
    if (name === "entries") return (value as { index: number; term: number; kind: string }[]).map(spelledEntry);
    return value === undefined || typeof value === "object" ? [] : [`${name} ${value}`];
  });
  return `${from} → ${to}  ${type.replace("rpc.", "").padEnd(12)} term ${term}${words.length > 0 ? `, ${words.join(", ")}` : ""}`;
}

const spelledEntry = ({ index, term, kind }: { index: number; term: number; kind: string }): string =>
  `[${index} ${kind} of term ${term}]`;

/** @param beats whether beats are written down too */
function dialogue(
  play: (group: RaftGroup, note: (line: string) => void) => void,
  { spares = 0, beats = false } = {},
): string {
  const knobs = { ...CALM, masters: 3, spares, proposeEveryMs: 0, readEveryMs: 0 };
  const group = new RaftGroup(new World(1), knobs).boot();
  const lines: string[] = [];
  group.onSend = (message) => {
    if (beats || !message.type.startsWith("rpc.beat")) lines.push(spelled(message));
  };
  play(group, (line) => lines.push("", `-- ${line}`));
  group.check();
  return `${lines.join("\n").trim()}\n`;
}

const leads = (group: RaftGroup, id: string, note: (line: string) => void) => {
  note(`${id} is made leader, as if the leader before had asked it to be`);
  const leader = group.elect(id);
  group.run(200);
  return leader;
};

const DIALOGUES: Record<string, () => string> = {
  "an election": () =>
    dialogue((group, note) => {
      note("nobody leads; the first whose patience ends asks whether it would be elected, then is");
      group.until(() => group.leader()?.running.isReady === true, 10_000, "a leader");
      group.run(30);
    }),
  "a command": () =>
    dialogue((group, note) => {
      const m1 = leads(group, "m1", note);
      note("m1 takes a command; with the answer of one follower it is committed");
      const command = group.propose(m1);
      group.until(() => group.checks.isAcknowledged(command), 1000, "it is acknowledged");
      group.run(40);
    }),
  "a read": () =>
    dialogue(
      (group, note) => {
        const m1 = leads(group, "m1", note);
        note("m1 is asked for a read; a beat that a majority echoes shows that it still leads");
        let index: number | null = null;
        group.read(m1, (answer) => {
          index = answer;
        });
        group.until(() => index !== null, 1000, "the read is confirmed");
      },
      { beats: true },
    ),
  "a follower that was away": () =>
    dialogue((group, note) => {
      const m1 = leads(group, "m1", note);
      note("m3 is cut off, and m1 takes three commands");
      group.isolate("m3");
      for (let n = 0; n < 3; n++) group.propose(m1);
      group.run(100);
      note("m3 is back");
      group.heal();
      group.run(1000);
    }),
  "a leader that is replaced": () =>
    dialogue((group, note) => {
      const m1 = leads(group, "m1", note);
      note("m1 is cut off with a command that reaches no other master");
      group.isolate("m1");
      group.propose(m1);
      note("m2 is elected, and takes a command for the same place");
      group.propose(group.elect("m2"));
      group.run(200);
      note("m1 is back, and gives its own entry up");
      group.heal();
      group.run(500);
    }),
  "leadership handed over": () =>
    dialogue((group, note) => {
      const m1 = leads(group, "m1", note);
      note("m1 is asked to hand over to m2");
      group.transfer(m1, "m2");
      group.until(() => group.leader()?.id === "m2", 2000, "m2 leads");
      group.run(30);
    }),
  "a master that is added": () =>
    dialogue(
      (group, note) => {
        const m1 = leads(group, "m1", note);
        note("m4 becomes a learner, and gets the log");
        group.change(m1, { kind: "addLearner", id: "m4" });
        group.run(300);
        note("m4 has caught up, and votes from here on");
        group.change(m1, { kind: "promote", id: "m4" });
        group.run(300);
      },
      { spares: 1 },
    ),
};

for (const [name, play] of Object.entries(DIALOGUES))
  test(`the dialogue of ${name} is the one that is written down`, () => {
    const file = join(import.meta.dir, "dialogues", `${name.replaceAll(" ", "-")}.txt`);
    const spoken = play();
    if (Bun.env.UPDATE_DIALOGUES) writeFileSync(file, spoken);
    expect(spoken).toBe(readFileSync(file, "utf8"));
  });
