/**
 * Invariants: what must hold whatever the network, the disk and the clients do. Checked in production too. A broken one is
 * a mistake of this program, so the node stops before it can harm data. Only of what is kept beside the truth, and can be
 * taken from it again at once, does a node log the mistake and go on; a simulation fails at either.
 *
 * Each is declared when its module loads, so that a simulation can find those that no life ever evaluated.
 */

/** Thrown by a check that fails, after the listeners of `whenBroken` were called. */
export class InvariantBroken extends Error {
  override name = "InvariantBroken";

  /**
   * @param claim the invariant's name, e.g. "raft: match < next"
   * @param isMended whoever checked it puts right what is wrong
   */
  constructor(
    readonly claim: string,
    readonly values: Readonly<Record<string, unknown>>,
    readonly isMended = false,
  ) {
    super(`invariant broken: ${claim} ${JSON.stringify(values)}`);
  }
}

export class Invariant {
  /** Evaluations since this process started. */
  evaluations = 0;

  constructor(
    readonly claim: string,
    readonly isMended = false,
  ) {}

  /**
   * @param values what the claim speaks of, for the log
   * @throws InvariantBroken unless it holds
   */
  check(holds: boolean, values: Readonly<Record<string, unknown>> = {}): asserts holds {
    this.evaluations++;
    if (holds) return;
    const broken = new InvariantBroken(this.claim, values, this.isMended);
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
 * @param then `mend`: whoever checks it catches what is thrown, and puts right what is wrong
 */
export function declareInvariant(claim: string, then: "stop" | "mend" = "stop"): Invariant {
  if (declared.has(claim)) throw new RangeError(`The invariant "${claim}" is declared twice`);
  const invariant = new Invariant(claim, then === "mend");
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
