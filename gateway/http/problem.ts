/** Problem documents: how every refusal and every failure looks to a client. @see RFC 9457 */
import { Type } from "@sinclair/typebox";
import { type ErrorCode, ErrorCodes, Refusal } from "../../actors/messages/errors.ts";
import { asClientHears } from "../ports/inner-refusal.ts";

export const PROBLEM_TYPE = "application/problem+json";
/** The code once more, because a refused HEAD has no document. */
const ERROR_HEADER = "x-dfs-error";

export const Problem = Type.Object(
  {
    type: Type.String({ description: "where the code is described" }),
    title: Type.String(),
    status: Type.Integer(),
    code: Type.String({ description: "stable; for programs" }),
    detail: Type.String({ description: "what was wrong, with the value" }),
    next: Type.String({ description: "what to do about it" }),
    instance: Type.String({ description: "the request's id; the log knows it" }),
  },
  { description: "RFC 9457 problem document; details of the code are added as further members" },
);

/** Seconds after which it makes sense to ask again. */
const RETRY_AFTER: Partial<Record<ErrorCode, number>> = {
  OVERLOADED: 1,
  NOT_READY: 1,
  NO_LEADER: 2,
  NOT_ENOUGH_WORKERS: 5,
  TOO_FEW_REPLICAS: 5,
  DATA_UNAVAILABLE: 5,
  UPLOAD_BUSY: 1,
};

/** `next` where a client of the gateway needs another hint than a node. */
const NEXT_STEP: Partial<Record<ErrorCode, string>> = {
  UNAUTHENTICATED: "Send the gateway's token: Authorization: Bearer …",
  IS_A_DIRECTORY: "Name a file; GET /files?prefix=…/&delimiter=/ lists a directory, ?recursive=true deletes it.",
};

const titleOf = (code: ErrorCode): string => {
  const words = code.toLowerCase().replaceAll("_", " ");
  return `${words[0]?.toUpperCase()}${words.slice(1)}`;
};

/**
 * @param requestId becomes `instance`; the client sees it and the log line has it
 */
export function problemResponse(refusal: Refusal, requestId: string): Response {
  const { code, status, message, details } = asClientHears(refusal);
  const retryAfter = RETRY_AFTER[code];
  const body = {
    ...details,
    type: `/openapi#${code}`,
    title: titleOf(code),
    status,
    code,
    detail: message,
    next: NEXT_STEP[code] ?? ErrorCodes[code].next,
    instance: `urn:request:${requestId}`,
  };
  return new Response(JSON.stringify(body), {
    status,
    headers: {
      "content-type": PROBLEM_TYPE,
      [ERROR_HEADER]: code,
      ...(retryAfter === undefined ? {} : { "retry-after": String(retryAfter) }),
      ...(code === "UNAUTHENTICATED" ? { "www-authenticate": 'Bearer realm="dfs"' } : {}),
      ...(refusal instanceof RefusalWithHeaders ? refusal.headers : {}),
    },
  });
}

/** A refusal with headers of its own, such as `Content-Range` of a 416. */
export class RefusalWithHeaders extends Refusal {
  constructor(
    code: ErrorCode,
    message: string,
    details: Record<string, unknown>,
    readonly headers: Record<string, string>,
  ) {
    super(code, message, details);
  }

  /** The same refusal, as the client is to hear it, with these headers beside those that it may have. */
  static adding(refusal: Refusal, headers: Record<string, string>): RefusalWithHeaders {
    const { code, message, details } = asClientHears(refusal);
    const before = refusal instanceof RefusalWithHeaders ? refusal.headers : {};
    return new RefusalWithHeaders(code, message, details, { ...before, ...headers });
  }
}
