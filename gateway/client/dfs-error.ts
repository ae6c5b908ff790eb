/** What went wrong, as the gateway said it, or as we found it on the way. */
import { ErrorCodes, isErrorCode } from "../../actors/messages/errors.ts";
import { dropBody } from "./drop-body.ts";

/** Codes that only a client can know; all others are `ErrorCodes` of the gateway. */
export const ClientErrorCodes = {
  /** No connection, or it broke and stayed broken. */
  UNREACHABLE: "Start a cluster with `npm start` (or `bun start`), or name a running gateway.",
  /** The bytes that arrived (or were stored) are not those that were sent. */
  CHECKSUM_MISMATCH: "Do it again; if it happens again, `explain` shows where the copies are.",
  /** The file became another while it was read, or the local source while it was sent. */
  FILE_CHANGED: "Start again from the beginning.",
  /** The answer does not come from a gateway of this system. */
  UNEXPECTED_ANSWER: "Check the address: is it a gateway of this system?",
  ABORTED: "",
} as const;

/**
 * Every failure of the client is one of these.
 *
 * - `code`: stable; of the gateway (`NO_SUCH_FILE`, …) or one of `ClientErrorCodes`
 * - `status`: of HTTP; 0 when there was no answer
 * - `next`: what to do now, for people
 * - `details`: more for machines, as the gateway sent it
 */
export class DfsError extends Error {
  override name = "DfsError";
  constructor(
    readonly code: string,
    message: string,
    readonly status: number = 0,
    readonly next: string = nextOf(code),
    readonly details: Record<string, unknown> = {},
    options?: ErrorOptions,
  ) {
    super(message, options);
  }
}

const nextOf = (code: string): string => {
  if (Object.hasOwn(ClientErrorCodes, code)) return ClientErrorCodes[code as keyof typeof ClientErrorCodes];
  return isErrorCode(code) ? ErrorCodes[code].next : "";
};

/** What stands before a gateway names no code; these pass. */
const codeOfStatus: Record<number, string> = { 503: "OVERLOADED", 504: "TIMEOUT" };

/** Turns an answer that is not 2xx into its error. An answer to HEAD has no body: a header has the code. */
export async function errorOf(response: Response, what: string): Promise<DfsError> {
  const { status } = response;
  const isProblem = response.headers.get("content-type")?.includes("json") ?? false;
  const problem = isProblem ? ((await response.json().catch(() => null)) as Record<string, unknown> | null) : null;
  if (!isProblem) await dropBody(response);
  if (typeof problem?.code === "string") {
    const { code, detail, title, next, type: _type, status: _status, instance: _instance, ...details } = problem;
    return new DfsError(
      problem.code,
      String(detail ?? title ?? `${what} was refused`),
      status,
      typeof next === "string" ? next : undefined,
      details,
    );
  }
  const named = response.headers.get("x-dfs-error");
  const code = named ?? codeOfStatus[status] ?? "UNEXPECTED_ANSWER";
  return new DfsError(code, `${what}: the answer was ${status} ${named ?? response.statusText}`.trim(), status);
}
