/** The id of a request: in the answer, in problem documents and in every line of each node's log about it. */
import { checkedRequestId, REQUEST_ID } from "../../actors/node/trace/carry.ts";

const ids = new WeakMap<Request, string>();

/** A client may bring its own id, so that its log and the gateway's can be read together. */
export function requestIdOf(request: Request): string {
  let id = ids.get(request);
  if (id === undefined) {
    id = checkedRequestId(request.headers.get(REQUEST_ID)) ?? Bun.randomUUIDv7();
    ids.set(request, id);
  }
  return id;
}
