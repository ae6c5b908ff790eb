/** A gateway's backend together with its services in the name of the gateway itself, as tests of the backend use it. */
import { SYSTEM } from "../../gateway/access/principal.ts";
import type { MasterClient } from "../../gateway/nodes/master-client.ts";
import { MasterNamespace } from "../../gateway/nodes/namespace.ts";
import type { Backend, Services } from "../../gateway/ports/backend.ts";
import type { Namespace } from "../../gateway/ports/namespace.ts";

export type SystemBackend = Backend & Services;

export const asSystem = (backend: Backend): SystemBackend => ({ ...backend, ...backend.as(SYSTEM) });

/** Names, asked of a client of masters that has no backend around it. */
export const namesOf = (masters: MasterClient): Namespace => new MasterNamespace(masters, SYSTEM);
