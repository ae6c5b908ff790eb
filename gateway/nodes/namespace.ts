/** Names in the name of one principal: questions and commands to the masters. */
import type { CommandOf } from "../../actors/messages/commands.ts";
import type { Principal } from "../access/principal.ts";
import type { ChangeOptions, Consistency, ListPage, Namespace } from "../ports/namespace.ts";
import type { MasterClient } from "./master-client.ts";

type MoveOptions = ChangeOptions & { overwrite?: boolean };

export class MasterNamespace implements Namespace {
  readonly #masters: MasterClient;
  readonly #by: Principal;

  constructor(masters: MasterClient, by: Principal) {
    this.#masters = masters;
    this.#by = by;
  }

  async stat(path: string) {
    return (await this.#masters.ask({ type: "STAT", path })).entry;
  }

  async look(path: string, consistency: Consistency) {
    const { entry, ageMs = 0 } = await this.#masters.read<"STAT">({ type: "STAT", path, consistency });
    return { entry, ageMs };
  }

  list({ minIndex = 0, ...page }: ListPage) {
    return this.#masters.read<"LIST">({ type: "LIST", minIndex, ...page });
  }

  rename(from: string, to: string, options: MoveOptions = {}) {
    return this.#move("RENAME_PATH", from, to, options);
  }

  copy(from: string, to: string, options: MoveOptions = {}) {
    return this.#move("COPY_PATH", from, to, options);
  }

  #move(type: "RENAME_PATH" | "COPY_PATH", from: string, to: string, options: MoveOptions) {
    const { overwrite = false, condition = {}, idempotencyKey } = options;
    const command = { type, from, to, overwrite, condition };
    return this.#masters.execute(command, { by: this.#by, idempotencyKey });
  }

  delete(
    path: string,
    { condition = {}, recursive = false, idempotencyKey }: ChangeOptions & { recursive?: boolean } = {},
  ) {
    const command = { type: "DELETE_PATH", path, recursive, condition } as const;
    return this.#masters.execute<CommandOf<"DELETE_PATH">>(command, { by: this.#by, idempotencyKey });
  }

  makeDirectory(path: string, { idempotencyKey }: { idempotencyKey?: string } = {}) {
    const command = { type: "MAKE_DIRECTORY", path } as const;
    return this.#masters.execute<CommandOf<"MAKE_DIRECTORY">>(command, { by: this.#by, idempotencyKey });
  }
}
