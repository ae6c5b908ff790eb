/**
 * Asks several sources in a row: the next one as soon as the last one failed or is slow. The first answer counts.
 *
 * @param isFinal a failure after which the others need not be asked: it is thrown
 * @returns no answer if all have failed, and why each did
 */
export async function firstOf<T>(
  ask: readonly (() => Promise<T>)[],
  nextAfterMs: number,
  isFinal: (error: unknown) => boolean,
): Promise<{ answer: T | null; failures: unknown[] }> {
  const failures: unknown[] = [];
  const { promise, resolve, reject } = Promise.withResolvers<T | null>();
  let next = 0;
  let timer: Timer | undefined;
  const askNext = (): void => {
    clearTimeout(timer);
    const one = ask[next++];
    if (!one) return;
    timer = setTimeout(askNext, nextAfterMs);
    one().then(resolve, (error) => {
      if (isFinal(error)) return reject(error);
      failures.push(error);
      if (failures.length === ask.length) resolve(null);
      else askNext();
    });
  };
  if (ask.length === 0) resolve(null);
  askNext();
  try {
    return { answer: await promise, failures };
  } finally {
    clearTimeout(timer);
  }
}
