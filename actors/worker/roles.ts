/** The roles of other nodes, as a worker knows them: from config.json, and from the list of masters in each registration. */
import type { Config } from "../messages/config.ts";
import type { Role } from "../messages/senders.ts";
import { listedRoles, type RolesOf, STRANGER } from "../node/identity/sender.ts";

const MASTER: readonly Role[] = ["master"];
const PERHAPS_MASTER: readonly Role[] = ["stranger", "master"];

export class RolesAtWorker {
  readonly #listed: RolesOf;
  readonly #masters = new Set<string>();
  #unlisted = STRANGER;

  constructor(config: Config) {
    this.#listed = listedRoles(config);
  }

  /** @param masters undefined: an older leader, whose answer has no such list; any stranger may be a master then */
  learn(masters: readonly string[] | undefined): void {
    this.#unlisted = masters === undefined ? PERHAPS_MASTER : STRANGER;
    this.#masters.clear();
    for (const id of masters ?? []) this.#masters.add(id);
  }

  readonly rolesOf: RolesOf = (id) => {
    if (this.#masters.has(id)) return MASTER;
    const roles = this.#listed(id);
    return roles === STRANGER ? this.#unlisted : roles;
  };
}
