/** Preloaded by a process whose wall clock is to be wrong, by so many milliseconds. */
const shiftMs = Number(Bun.env.CLOCK_SHIFT_MS ?? 0);
const rightly = Date.now;
Date.now = () => rightly() + shiftMs;
