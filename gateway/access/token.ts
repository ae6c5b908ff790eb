/** The gateway's bearer token. */
import { timingSafeEqual } from "node:crypto";
import { Refusal } from "../../actors/messages/errors.ts";
import { LOCAL_USER, type Principal, TOKEN_HOLDER } from "./principal.ts";

const digestOf = (text: string): Buffer => new Bun.CryptoHasher("sha256").update(text).digest();

/**
 * @param token null: none is asked for, because only programs of this machine reach the gateway
 * @throws UNAUTHENTICATED
 */
export function authenticateByToken({ headers }: Request, token: string | null): Principal {
  if (token === null) return LOCAL_USER;
  const given = /^Bearer\s+(\S+)$/i.exec(headers.get("authorization") ?? "")?.[1];
  if (given === undefined) throw new Refusal("UNAUTHENTICATED", "The request carries no token");
  if (!timingSafeEqual(digestOf(token), digestOf(given)))
    throw new Refusal("UNAUTHENTICATED", "The token is not the right one");
  return TOKEN_HOLDER;
}
