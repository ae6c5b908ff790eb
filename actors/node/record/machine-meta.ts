/** What a machine says of itself, in its `meta`, to those who watch its steps. They know no machine by name. */
import type { AnyStateMachine } from "xstate";

export interface MachineMeta {
  /** Events that ordinary life brings to a state with no use for them. */
  mayComeLate?: readonly string[];
  /** What follows the colon in its actors' ids, if that is not a name: the number of a chunk. */
  about?: "chunk";
}

export const metaOf = (machine: AnyStateMachine): MachineMeta => (machine.root.meta ?? {}) as MachineMeta;
