/** A master in a process of its own, started where no file may grow beyond some size: as if the disk were full by then. */
import type { RaftMessageOf } from "../../actors/messages/raft.ts";
import { ExitCode } from "../../actors/node/lifecycle.ts";
import { followerEngine } from "./follower-engine.ts";
import { loneEngine, untilReady } from "./lone-engine.ts";

export interface SmallDiskTask {
  directory: string;
  /** To install, as a follower. Without one it leads itself, and takes commands until it fails. */
  offer?: RaftMessageOf<"rpc.snapshotOffer">;
  during?: "an append" | "a checkpoint";
  /** Makes names long. */
  filler?: string;
}

const AT_ONCE = 20;
const { directory, offer, during, filler = "" } = JSON.parse(process.argv[2] as string) as SmallDiskTask;

if (offer) {
  const { engine, snapshots } = followerEngine(directory, () => process.exit(ExitCode.diskFailed));
  await snapshots.install(offer);
  console.log(engine.store.row("totals", {})?.directories);
  engine.close();
} else {
  const engine = await untilReady(
    loneEngine(directory, "c", AT_ONCE, undefined, () => process.exit(ExitCode.diskFailed)),
  );
  for (let done = 0; ; done += AT_ONCE) {
    const names = Array.from({ length: AT_ONCE }, (_, n) => `${done + n}${filler}`);
    await Promise.all(
      names.map((path) =>
        engine.propose(
          during === "an append"
            ? // The log grows by what the state does not keep.
              ({ type: "NOOP", filler: path.padEnd(9000) } as never)
            : { type: "MAKE_DIRECTORY", path: path.slice(0, 4000) },
        ),
      ),
    );
    console.log(done + AT_ONCE);
    if (during === "a checkpoint") while (engine.compact());
  }
}
