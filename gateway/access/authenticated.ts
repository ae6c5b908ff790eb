/** Which principal a request was found to come from. */
import type { Principal } from "./principal.ts";

const principals = new WeakMap<Request, Principal>();

/** For the front door alone, after the door has authenticated the request. */
export const noteAuthenticated = (request: Request, principal: Principal): void => {
  principals.set(request, principal);
};

/** @returns null before the request was authenticated, and at a route that is open to all */
export const authenticated = (request: Request): Principal | null => principals.get(request) ?? null;

/** For the routes that are not open to all. */
export function principalOf(request: Request): Principal {
  const principal = principals.get(request);
  if (principal === undefined) throw new Error(`${request.method} ${request.url} was not authenticated`);
  return principal;
}
