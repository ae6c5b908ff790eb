/**
 * The place of a span in a trace, as it is written in headers.
 *
 * @see https://www.w3.org/TR/trace-context/
 */

export interface SpanId {
  /** 32 hex digits. */
  readonly traceId: string;
  /** 16 hex digits. */
  readonly spanId: string;
  readonly flags: number;
  /** What other tracing systems say of this trace, as it came. */
  readonly state: string | null;
  /** It is a span of another node. */
  readonly isRemote: boolean;
}

const SAMPLED = 1;
const PARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const STATE_MEMBER =
  /^([a-z0-9][_0-9a-z\-*/]{0,255}|[a-z0-9][_0-9a-z\-*/]{0,240}@[a-z][_0-9a-z\-*/]{0,13})=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]$/;
const MOST_STATE_MEMBERS = 32;
/** What a receiver must be able to hand on; more is dropped. */
const MOST_STATE_LENGTH = 512;

export const isSampled = ({ flags }: SpanId): boolean => (flags & SAMPLED) !== 0;

/** @returns undefined for a text that is no traceparent: the trace begins anew */
export function parseTraceparent(parent: string | null, state: string | null): SpanId | undefined {
  if (parent === null) return undefined;
  const [, version, traceId, spanId, flags, rest] = PARENT.exec(parent) ?? [];
  if (traceId === undefined || spanId === undefined || version === "ff") return undefined;
  if (version === "00" && rest !== undefined) return undefined;
  if (/^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined;
  return { traceId, spanId, flags: Number.parseInt(flags ?? "", 16), state: checkedState(state), isRemote: true };
}

export const formatTraceparent = ({ traceId, spanId, flags }: SpanId): string =>
  `00-${traceId}-${spanId}-${(flags & SAMPLED).toString(16).padStart(2, "0")}`;

/** An ill-formed tracestate is dropped whole; the trace goes on. */
function checkedState(state: string | null): string | null {
  if (state === null || state.length > MOST_STATE_LENGTH) return null;
  const members = state
    .split(",")
    .map((member) => member.trim())
    .filter((member) => member !== "");
  if (members.length === 0 || members.length > MOST_STATE_MEMBERS) return null;
  return members.every((member) => STATE_MEMBER.test(member)) ? members.join(",") : null;
}
