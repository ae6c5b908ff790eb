/**
 * Who asks. The door that authenticated a request makes the principal of it, and the principal goes with the request as
 * far as the commands that follow from it. Pure.
 */

export type Principal =
  /** The gateway itself: probes, metrics, drills, tidying up. */
  | { readonly kind: "system" }
  /** The client sent the gateway's token. */
  | { readonly kind: "tokenHolder" }
  /** No token is asked for: the client is a program of this machine. */
  | { readonly kind: "localUser" };

export const SYSTEM: Principal = { kind: "system" };
export const TOKEN_HOLDER: Principal = { kind: "tokenHolder" };
export const LOCAL_USER: Principal = { kind: "localUser" };

const NAMES = { system: "system", tokenHolder: "token", localUser: "local" } as const satisfies Record<
  Principal["kind"],
  string
>;

/** As logs and records name the principal. */
export const nameOf = ({ kind }: Principal): string => NAMES[kind];
