/** Which web page sent a request. */
import { Refusal } from "../../actors/messages/errors.ts";

const READS: ReadonlySet<string> = new Set(["GET", "HEAD", "OPTIONS"]);

/**
 * A browser sends `Origin` with every change: a form on a page of another site must not reach a gateway on this machine.
 *
 * @throws CROSS_SITE
 */
export function checkSite({ method, headers, url }: Request): void {
  const origin = headers.get("origin");
  if (origin === null || READS.has(method)) return;
  if (!URL.canParse(origin) || new URL(origin).host !== new URL(url).host)
    throw new Refusal("CROSS_SITE", `A page of ${origin.slice(0, 100)} asks to change files here`);
}
