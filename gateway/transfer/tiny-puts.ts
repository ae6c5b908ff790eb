/**
 * Files that lie in the metadata: the whole body goes into one command. Whether the masters take it is theirs to say; a
 * file that they do not take is stored through workers, and for a while those like it are not offered.
 */
import type { CommandOf } from "../../actors/messages/commands.ts";
import { Refusal } from "../../actors/messages/errors.ts";
import { TINY_SINCE } from "../../actors/rules/decide/cluster-version.ts";
import type { Principal } from "../access/principal.ts";
import type { MasterClient } from "../nodes/master-client.ts";
import type { PutOutcome, PutRequest } from "../ports/transfers.ts";
import { checkDigests, hashesFor } from "./digest-check.ts";

const DEFAULT_TINY_BYTES = 4096;
/** After a refusal, and while the masters are of an older program. */
const OFFER_AGAIN_MS = 10_000;

/** What a command that makes a file says of it, beside its bytes. */
export type Attributes = Omit<
  CommandOf<"PUT_FILE">,
  "type" | "chunks" | "content" | "room" | "sizeBytes" | "crc32" | "sha256"
>;

export class TinyPuts {
  readonly mostBytes: number;
  readonly #masters: MasterClient;
  /** Until when no file that wants so many copies is offered. */
  readonly #refusedUntil = new Map<number, number>();
  #askAgainAt = 0;

  constructor(masters: MasterClient, mostBytes = DEFAULT_TINY_BYTES) {
    this.#masters = masters;
    this.mostBytes = mostBytes;
  }

  /** Whether a body of this length, or of an unknown one, may turn out to be tiny. */
  isWorthReading(lengthBytes = 0): boolean {
    return this.mostBytes > 0 && lengthBytes <= this.mostBytes;
  }

  /**
   * @param offered called before the masters are asked
   * @returns null if the masters do not take it
   * @throws DIGEST_MISMATCH, and what the command is refused with
   */
  async put(
    content: Uint8Array,
    request: PutRequest,
    attributes: Attributes,
    { by, offered }: { by: Principal; offered(): void },
  ): Promise<PutOutcome | null> {
    const { length: sizeBytes } = content;
    const crc32 = Bun.hash.crc32(content);
    const hashes = new Map(
      hashesFor(request).map((name) => [name, new Bun.CryptoHasher(name).update(content).digest("hex")]),
    );
    checkDigests(request, crc32, hashes);
    // An empty file has no bytes to be taken: masters of any program make it.
    if (sizeBytes > 0 && !(await this.#mayOffer(attributes.replicationFactor))) return null;
    const bytes = sizeBytes > 0 ? { content } : {};
    const sha256 = hashes.get("sha256") ?? null;
    const what = { chunks: [], ...bytes, sizeBytes, crc32, sha256 };
    const command: CommandOf<"PUT_FILE"> = { type: "PUT_FILE", ...attributes, ...what };
    offered();
    try {
      const { idempotencyKey } = request;
      return await this.#masters.execute(command, { by, idempotencyKey });
    } catch (error) {
      if (!isNotTaken(error)) throw error;
      this.#refusedUntil.set(attributes.replicationFactor, performance.now() + OFFER_AGAIN_MS);
      return null;
    }
  }

  async #mayOffer(replicationFactor: number): Promise<boolean> {
    const now = performance.now();
    if (now < (this.#refusedUntil.get(replicationFactor) ?? 0)) return false;
    const { version } = this.#masters;
    if (version !== null && version >= TINY_SINCE) return true;
    if (version !== null && now < this.#askAgainAt) return false;
    this.#askAgainAt = now + OFFER_AGAIN_MS;
    await this.#masters.clusterState();
    return (this.#masters.version ?? 0) >= TINY_SINCE;
  }
}

/** The command had no effect, nor had an earlier try of it: other bytes of the same file may be stored elsewhere. */
const isNotTaken = (error: unknown): boolean =>
  error instanceof Refusal && (error.code === "CONTENT_NOT_TAKEN" || error.code === "VERSION_TOO_LOW");
