/** Whose name a request asks for. */
import { Refusal } from "../../actors/messages/errors.ts";

/** Names that no name server can lead elsewhere. */
export const isLoopback = (hostname: string): boolean => /^(127(\.\d{1,3}){3}|\[::1\]|localhost)$/i.test(hostname);

/**
 * Without a token, being on this machine is the credential. A page of another site that makes its own name lead here
 * (DNS rebinding) still names itself in `Host`.
 *
 * @throws WRONG_HOST
 */
export function checkHost({ headers, url }: Request): void {
  const hostname = (headers.get("host") ?? new URL(url).host).replace(/:\d*$/, "");
  if (!isLoopback(hostname))
    throw new Refusal(
      "WRONG_HOST",
      `The request asks for host ${hostname.slice(0, 100)}; allowed: localhost, 127.0.0.1`,
    );
}
