/** Chance that can be repeated: all of it comes from one seed, printed in the test's title. */
export const SEED = Number(Bun.env.SEED ?? crypto.getRandomValues(new Uint32Array(1))[0]);

/** mulberry32: small, fast, good enough to choose test cases. @returns uniform in [0, 1) */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export const pick = <T>(random: () => number, from: readonly T[]): T => from[Math.floor(random() * from.length)] as T;

/**
 * Something that happens once, at any moment of a piece of work that calls what is returned at its events: after one of the
 * first `mostEvents`, and then so many turns of the microtask queue, or a turn of the event loop.
 */
export function atSomeMoment(random: () => number, mostEvents: number, act: () => void): () => void {
  let left = Math.floor(random() * mostEvents);
  const turns = Math.floor(random() * 12);
  const late = random() < 0.3;
  return () => {
    if (left-- !== 0) return;
    void (async () => {
      for (let n = 0; n < turns; n++) await Promise.resolve();
      if (late) await new Promise(setImmediate);
      act();
    })();
  };
}
