/** What a master makes of batches from its peers, by whom they are from, whom they are for, and what they expect there. */

import { expect, test } from "bun:test";
import { RaftTransport } from "../../actors/master/group/raft-transport.ts";
import type { Configuration, RaftMessage } from "../../actors/messages/raft.ts";
import { sharedSecret } from "../../actors/node/identity/signature.ts";
import { createLogger } from "../../actors/node/log.ts";

/** `master-4`, which runs where `master-1` used to, and what came of it. */
function newcomer(configuration: Configuration) {
  const identity = { nodeId: "master-4", credentials: sharedSecret("master-4", "0".repeat(64)), clusterId: () => "c" };
  const transport = new RaftTransport(identity, [], createLogger("master-4", "silent"));
  const received: RaftMessage[] = [];
  const died: string[] = [];
  transport.connect({
    url: "http://127.0.0.1:7001",
    incarnation: "of master-4",
    knows: 1,
    mark: () => ({ index: 0, hash: 0 }),
    configuration: () => configuration,
    receive: (message) => received.push(message),
    inadmissible: () => null,
    unreachable: () => {},
    isDead: (reason) => died.push(reason),
  });
  const take = (to: string, expects: string | null) =>
    transport
      .take(
        {
          type: "RAFT",
          url: "http://127.0.0.1:7002",
          incarnation: "of master-2",
          knows: 1,
          expects,
          messages: [{ type: "rpc.beat", from: "master-2", to, term: 1, commit: 0, readSeq: 0 }],
        },
        "master-2",
      )
      .then(
        () => "taken",
        (error) => error.code,
      );
  return { take, received, died };
}
const OUTSIDER: Configuration = { voters: [], learners: [] };
const MEMBER: Configuration = { voters: [["master-2", "master-3", "master-4"]], learners: [] };

for (const [what, configuration] of Object.entries({ "waits to be added": OUTSIDER, "is a member": MEMBER }))
  test(`20c. a master that ${what} is not taken for the one that used to run at its address`, async () => {
    const { take, received, died } = newcomer(configuration);
    expect(await take("master-1", "of master-1")).toBe("NO_SUCH_MASTER");
    // Nor would it tell who does not know yet which data directory is master-1's.
    expect(await take("master-1", null)).toBe("NO_SUCH_MASTER");
    expect([received, died]).toEqual([[], []]);
    expect(await take("master-4", "of master-4")).toBe("taken");
    expect(received).toHaveLength(1);
  });

test("20d. a master that is known with another data directory is told, and stops", async () => {
  const { take, received, died } = newcomer(MEMBER);
  expect(await take("master-4", "of its lost one")).toBe("DEAD_MASTER");
  expect([received, died.length]).toEqual([[], 1]);
});
