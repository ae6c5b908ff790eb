/** Elysia answers HEAD through the GET route and counts the bytes of its empty body: the right length is stated here. */

const lengths = new WeakMap<Request, number>();

export const stateLength = (request: Request, lengthBytes: number): void => {
  lengths.set(request, lengthBytes);
};

/** @returns undefined if the route stated none */
export const statedLength = (request: Request): number | undefined => lengths.get(request);
