/** Judges the id that signed a request by `messages/senders.ts`, at the doors of a node. */
import type { Config } from "../../messages/config.ts";
import { Refusal } from "../../messages/errors.ts";
import { MESSAGE_SENDERS, type Role, type Senders } from "../../messages/senders.ts";

/** The roles that another node may have, as far as this one knows; as a rule one. */
export type RolesOf = (id: string) => readonly Role[];

/** An unknown id. */
export const STRANGER: readonly Role[] = ["stranger"];

/** Roles by config.json. It lists the first masters; the data may know others. */
export function listedRoles({ masters, workers, gateways }: Pick<Config, "masters" | "workers" | "gateways">): RolesOf {
  const listed = new Map<string, readonly Role[]>();
  for (const { id } of gateways) listed.set(id, ["gateway"]);
  for (const { id } of workers) listed.set(id, ["worker"]);
  for (const { id } of masters) listed.set(id, ["master"]);
  return (id) => listed.get(id) ?? STRANGER;
}

/** @throws WRONG_SENDER */
export function assertMaySend(what: string, senders: Senders, sender: string, rolesOf: RolesOf): void {
  const roles = rolesOf(sender);
  if (roles.some((role) => senders.from.includes(role))) return;
  const allowed = senders.from.filter((role) => role !== "stranger");
  throw new Refusal("WRONG_SENDER", `${what} comes from a ${allowed.join(" or ")}; ${sender} is a ${roles.join()}`, {
    ...{ sender, roles, what, allowed },
  });
}

/**
 * @param rolesOf left out at a node that knows no other: then only the node that a message names is judged
 * @throws WRONG_SENDER if its sender may not say it, or says it of another node
 */
export function assertMessageFrom(message: { type: string }, sender: string, rolesOf?: RolesOf): void {
  const senders: Senders | undefined = MESSAGE_SENDERS[message.type as keyof typeof MESSAGE_SENDERS];
  if (rolesOf) assertMaySend(message.type, senders ?? { from: [] }, sender, rolesOf);
  const fields = message as unknown as Record<string, unknown>;
  if (senders?.carriesFor !== undefined) {
    const of = senders.carriesFor === "sender" ? sender : (fields[senders.carriesFor] as string);
    assertMessageFrom(fields.message as { type: string }, of, rolesOf);
  }
  if (senders?.names === undefined) return;
  const subject = fields[senders.names];
  if (subject !== sender)
    throw new Refusal("WRONG_SENDER", `${message.type} speaks of ${subject}, and ${sender} signed it`, {
      ...{ sender, what: message.type, allowed: [subject] },
    });
}
