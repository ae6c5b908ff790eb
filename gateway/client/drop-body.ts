/** Frees the connection of an answer whose body is not read. A connection that is broken already is no error. */
export const dropBody = async (response: Response): Promise<void> => response.body?.cancel().catch(() => undefined);
