/** Who a node is, towards other nodes, and how it proves that. */
import type { RolesOf } from "./sender.ts";

/** How a node proves who it is, and checks the proof of others. One request, one proof. */
export interface Credentials {
  /**
   * @param path of the URL, without query
   * @param content the body, or what stands for it (`blockContent`)
   * @returns the value of the request's `authorization` header
   */
  sign(method: string, path: string, content: string | Uint8Array): string;
  /** @returns the id of the node that signed. @throws Refusal: UNAUTHENTICATED; PEER_UNREACHABLE while a drill cuts the link */
  verify(authorization: string | null, method: string, path: string, content: string | Uint8Array): string;
}

export interface Identity {
  nodeId: string;
  credentials: Credentials;
  /** null until the node has joined a cluster. */
  clusterId(): string | null;
  /** What this node knows of the roles of those who send. Left out: nothing. */
  rolesOf?: RolesOf;
}
