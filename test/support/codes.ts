/** The code of the refusal that this ends with, or "fine". */
export const codeOf = (promise: Promise<unknown>) => promise.then(() => "fine").catch((error) => error.code);
