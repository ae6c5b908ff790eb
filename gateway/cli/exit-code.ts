/** What the command line's exit codes mean; scripts rely on them. */
import { DfsError } from "../client/client.ts";

export const ExitCode = {
  ok: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  unreachable: 4,
  precondition: 5,
  interrupted: 130,
} as const;

export const EXIT_CODE_HELP = `
Exit codes:
  0    done
  1    failed, or some of several failed
  2    wrong usage
  3    not found
  4    the gateway, or the cluster behind it, cannot be reached
  5    it exists already, changed meanwhile, or is in another state than demanded
  130  interrupted; the same command again goes on where it stopped`;

const BY_ERROR: Record<string, number> = {
  INVALID_PATH: ExitCode.usage,
  INVALID_PARAMETER: ExitCode.usage,
  NO_SUCH_FILE: ExitCode.notFound,
  NO_SUCH_WORKER: ExitCode.notFound,
  NO_SUCH_MASTER: ExitCode.notFound,
  NO_SUCH_LOCAL_FILE: ExitCode.notFound,
  UNREACHABLE: ExitCode.unreachable,
  NO_LEADER: ExitCode.unreachable,
  NOT_READY: ExitCode.unreachable,
  CLOCKS_DIFFER: ExitCode.unreachable,
  SECRETS_DIFFER: ExitCode.unreachable,
  NODES_DISAGREE: ExitCode.unreachable,
  ALREADY_EXISTS: ExitCode.precondition,
  PRECONDITION_FAILED: ExitCode.precondition,
  FILE_CHANGED: ExitCode.precondition,
  MASTERS_UNCHANGED: ExitCode.precondition,
  IS_A_DIRECTORY: ExitCode.precondition,
  NOT_A_DIRECTORY: ExitCode.precondition,
  DIRECTORY_NOT_EMPTY: ExitCode.precondition,
  ABORTED: ExitCode.interrupted,
};

export const exitCodeOf = (error: unknown): number =>
  error instanceof DfsError ? (BY_ERROR[error.code] ?? ExitCode.failed) : ExitCode.failed;

/** One code for many results: their own if all that failed agree, otherwise "some failed". */
export function exitCodeOfAll(errors: unknown[]): number {
  const codes = new Set(errors.map(exitCodeOf));
  if (codes.size === 0) return ExitCode.ok;
  return codes.size === 1 ? ([...codes][0] as number) : ExitCode.failed;
}
