/** What is wrong with a copy: its bytes are gone, or they are not what they should be. */
export type Flaw = { kind: "missing" } | { kind: "bad"; problem: string };

/** What was read, or why it could not be. */
export type Read<T> = { value: T; flaw: null } | { value: null; flaw: Flaw };

export const MISSING: Flaw = { kind: "missing" };

/** @param problem in words, for people */
export const bad = (problem: string): Flaw => ({ kind: "bad", problem });

export const good = <T>(value: T): Read<T> => ({ value, flaw: null });
export const flawed = (flaw: Flaw): Read<never> => ({ value: null, flaw });

export const wordsOf = (flaw: Flaw): string => (flaw.kind === "missing" ? "missing" : flaw.problem);
