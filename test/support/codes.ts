/** The code of the refusal that this ends with, or "fine"; of an error that has none, its words. */
export const codeOf = (promise: Promise<unknown>): Promise<string> =>
  promise.then(
    () => "fine",
    (error) => error.code ?? String(error),
  );

/** The same of what is thrown at once. */
export const codeThrownBy = (work: () => unknown): string => {
  try {
    work();
    return "fine";
  } catch (error) {
    return (error as { code?: string }).code ?? String(error);
  }
};
