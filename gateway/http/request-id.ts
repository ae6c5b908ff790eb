/** The id of a request: in the answer, in problem documents and in every line of the log about it. */

const ids = new WeakMap<Request, string>();

/** A client may bring its own id, so that its log and the gateway's can be read together. */
export function requestIdOf(request: Request): string {
  let id = ids.get(request);
  if (id === undefined) {
    const given = request.headers.get("x-request-id") ?? "";
    id = /^[A-Za-z0-9._-]{1,64}$/.test(given) ? given : Bun.randomUUIDv7();
    ids.set(request, id);
  }
  return id;
}
