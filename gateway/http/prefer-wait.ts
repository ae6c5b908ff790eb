/**
 * How long a client is willing to wait for a leader, where there is none: `Prefer: wait=SECONDS`. Without it a refusal
 * comes within two seconds.
 *
 * @see RFC 7240 §4.3
 */
import { Elysia } from "elysia";
import { SERVER_OPTIONS } from "../../actors/node/http/server-options.ts";
import { LONGEST_WAIT_MS, withWait } from "../ports/asked-wait.ts";

/** @returns whole seconds as far as they are granted; null for anything else, which is no error (RFC 7240 §2) */
export function preferredWait(prefer: string | null): number | null {
  if (prefer === null) return null;
  const [, seconds] = /(?:^|[,;])\s*wait\s*=\s*"?(\d{1,9})"?\s*(?:$|[,;])/i.exec(prefer) ?? [];
  return seconds === undefined ? null : Math.min(Number(seconds), LONGEST_WAIT_MS / 1000);
}

export const patience = () =>
  new Elysia({ name: "patience", ...SERVER_OPTIONS }).wrap(
    (handle) =>
      ((request: Request, ...rest: unknown[]) => {
        const seconds = preferredWait(request.headers.get("prefer"));
        const run = () => handle(request, ...rest) as unknown as Promise<Response>;
        return seconds === null ? run() : withPatience(seconds, run);
      }) as never,
  );

async function withPatience(seconds: number, run: () => Promise<Response>): Promise<Response> {
  const answer = await withWait(seconds * 1000, run);
  answer.headers.append("preference-applied", `wait=${seconds}`);
  return answer;
}
