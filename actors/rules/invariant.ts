/**
 * Invariants: what must hold whatever the network, the disk and the clients do. Checked in production too. A broken one is
 * a mistake of this program, so it is never handled: the node stops before it can harm data.
 *
 * Each is declared when its module loads, so that a simulation can find those that no life ever evaluated.
 */

/** Thrown by a check that fails, after the listeners of `whenBroken` were called. */
export class InvariantBroken extends Error {
  override name = "InvariantBroken";

  /** @param claim the invariant's name, e.g. "raft: match < next" */
  constructor(
    readonly claim: string,
    readonly values: Readonly<Record<string, unknown>>,
  ) {
    super(`invariant broken: ${claim} ${JSON.stringify(values)}`);
  }
}

export class Invariant {
  /** Evaluations since this process started. */
  evaluations = 0;

  constructor(readonly claim: string) {}

  /**
   * @param values what the claim speaks of, for the log
   * @throws InvariantBroken unless it holds
   */
  check(holds: boolean, values: Readonly<Record<string, unknown>> = {}): asserts holds {
    this.evaluations++;
    if (holds) return;
    const broken = new InvariantBroken(this.claim, values);
    for (const listener of listeners) listener(broken);
    throw broken;
  }
}

const declared = new Map<string, Invariant>();
const listeners = new Set<(broken: InvariantBroken) => void>();

/**
 * Call it at the top of a module, and annotate the constant (`const heldIsNeverNegative: Invariant = …`): TypeScript asks
 * for that before `check` can narrow a type.
 *
 * @param claim `<room>: <what holds>`, unique in the program
 */
export function declareInvariant(claim: string): Invariant {
  if (declared.has(claim)) throw new RangeError(`The invariant "${claim}" is declared twice`);
  const invariant = new Invariant(claim);
  declared.set(claim, invariant);
  return invariant;
}

/** All invariants of the modules that are loaded, by claim. */
export const declaredInvariants = (): ReadonlyMap<string, Invariant> => declared;

/**
 * A node registers how it ends here: what throws may be caught on its way up, and a node with a broken invariant must not
 * go on.
 *
 * @returns takes the listener away again
 */
export function whenBroken(listener: (broken: InvariantBroken) => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
