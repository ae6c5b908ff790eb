/** What makes a door of a gateway: which paths it answers, whom it lets in, and how its refusals look. */
import type { Refusal } from "../../actors/messages/errors.ts";
import { checkHost } from "../access/host.ts";
import type { Principal } from "../access/principal.ts";
import { checkSite } from "../access/site.ts";
import { authenticateByToken } from "../access/token.ts";
import { problemResponse } from "./problem.ts";

export interface Door {
  /** `/console` stands for itself and all below it, `/` for what no other door answers. */
  readonly prefix: string;
  /** Whether its refusals go into the flight recorder. */
  readonly isRecorded: boolean;
  /** Refuses what must not even learn which routes there are. Runs before a route is looked for. */
  admit(request: Request): void;
  /** Who asks. Runs at every route that is not open to all. @throws UNAUTHENTICATED */
  authenticate(request: Request): Principal;
  /** Refuses what the principal is not to be held responsible for. Runs last. */
  guard(request: Request): void;
  /** The answer to a request that was refused, or that failed with INTERNAL. */
  refuse(refusal: Refusal, requestId: string): Response;
}

/** The doors that take the gateway's token and answer with problem documents. @param token null: none is asked for */
export const tokenDoor = (prefix: string, token: string | null, isRecorded: boolean): Door => ({
  prefix,
  isRecorded,
  admit(request) {
    if (token === null) checkHost(request);
  },
  authenticate: (request) => authenticateByToken(request, token),
  guard: checkSite,
  refuse: problemResponse,
});

/** The doors of one gateway. A path belongs to the one with the longest prefix; `/consoles` is not below `/console`. */
export class Doors {
  readonly #longestFirst: readonly { door: Door; below: string }[];

  constructor(doors: readonly Door[]) {
    this.#longestFirst = doors
      .toSorted((a, b) => b.prefix.length - a.prefix.length)
      .map((door) => ({ door, below: door.prefix === "/" ? "/" : `${door.prefix}/` }));
  }

  of(path: string): Door {
    for (const { door, below } of this.#longestFirst) if (path.startsWith(below) || path === door.prefix) return door;
    throw new Error(`No door answers ${path}`);
  }
}
