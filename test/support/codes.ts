/** The code of the refusal that this ends with, or "fine"; of an error that has none, its words. */
export const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "fine",
    (error) => error.code ?? String(error),
  );
