/**
 * The one place that says what a command does. Pure and deterministic: the same command at the same place in the log,
 * over the same state, gives the same writes and the same answer on every master, now and at every replay.
 */
import type { Command } from "../../messages/commands.ts";
import { closeGrants, forgetGarbage, grantChunks, renewGrants } from "./chunks.ts";
import { checkState, knownSince, setClusterVersion } from "./cluster-version.ts";
import {
  accepted,
  CannotApply,
  type Deciding,
  type Decision,
  type Environment,
  RefusedCommand,
  refused,
} from "./decision.ts";
import { expire, openSession } from "./expiry.ts";
import { copyPath, deletePath, makeDirectory, putFile, reapDeleted, renamePath } from "./namespace.ts";
import { abortUpload, commitUpload, openUpload, stageChunks } from "./uploads.ts";
import { addReplicas, dropReplica, markReplicas, registerWorker, setWorkerLiveness, setWorkerMode } from "./workers.ts";

/**
 * Yields reads, returns writes and a result. A refusal writes nothing.
 *
 * @throws CannotApply if this master must stop at this entry
 */
export function* decide(command: Command, env: Environment): Deciding<Decision> {
  const since = knownSince(command.type);
  if (since > env.version)
    return refused("VERSION_TOO_LOW", `${command.type} needs cluster version ${since}; it is ${env.version}`);
  try {
    return yield* dispatch(command, env);
  } catch (error) {
    if (error instanceof RefusedCommand) return refused(error.code, error.message, error.details);
    throw error;
  }
}

function* dispatch(command: Command, env: Environment): Deciding<Decision> {
  switch (command.type) {
    case "OPEN_SESSION":
      return openSession(command, env);
    case "GRANT_CHUNKS":
      return yield* grantChunks(command, env);
    case "RENEW_GRANTS":
      return yield* renewGrants(command, env);
    case "CLOSE_GRANTS":
      return yield* closeGrants(command);
    case "PUT_FILE":
      return yield* putFile(command, env);
    case "OPEN_UPLOAD":
      return yield* openUpload(command, env);
    case "STAGE_CHUNKS":
      return yield* stageChunks(command, env);
    case "COMMIT_UPLOAD":
      return yield* commitUpload(command, env);
    case "ABORT_UPLOAD":
      return yield* abortUpload(command, env);
    case "DELETE_PATH":
      return yield* deletePath(command, env);
    case "RENAME_PATH":
      return yield* renamePath(command, env);
    case "COPY_PATH":
      return yield* copyPath(command, env);
    case "MAKE_DIRECTORY":
      return yield* makeDirectory(command, env);
    case "REGISTER_WORKER":
      return yield* registerWorker(command);
    case "SET_WORKER_LIVENESS":
      return yield* setWorkerLiveness(command);
    case "SET_WORKER_MODE":
      return yield* setWorkerMode(command);
    case "ADD_REPLICAS":
      return yield* addReplicas(command);
    case "MARK_REPLICAS":
      return yield* markReplicas(command, env);
    case "DROP_REPLICA":
      return yield* dropReplica(command, env);
    case "FORGET_GARBAGE":
      return forgetGarbage(command, env);
    case "EXPIRE":
      return yield* expire(command, env);
    case "REAP_DELETED":
      return yield* reapDeleted(env);
    case "NOOP":
      return accepted(null, []);
    case "SET_CLUSTER_VERSION":
      return setClusterVersion(command, env);
    case "CHECK_STATE":
      return yield* checkState(command, env);
    default:
      command satisfies never;
      throw new CannotApply(
        "unknownCommand",
        `entry ${env.index} of the log is a command that this program does not know (${(command as Command).type}): start a newer one`,
      );
  }
}
