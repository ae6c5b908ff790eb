/** What gateways ask a leader: commands, and questions about names. Every answer includes all that was acknowledged before. */
import type { ClientCommand } from "../../messages/commands.ts";
import type { Config } from "../../messages/config.ts";
import { Refusal } from "../../messages/errors.ts";
import type { MasterMailbox } from "../../messages/master.ts";
import type { NodeId } from "../../messages/primitives.ts";
import type { AnswerOf, MessageOf } from "../../node/messaging/mailbox.ts";
import { TINY_SINCE } from "../../rules/decide/cluster-version.ts";
import type { MetadataPort, Outcome } from "../metadata-port.ts";
import type { Placing } from "./placing.ts";
import type { WorkerRegistry } from "./worker-registry.ts";

type Asked<T extends keyof typeof MasterMailbox> = MessageOf<typeof MasterMailbox, T>;
type Answered<T extends keyof typeof MasterMailbox> = Promise<AnswerOf<typeof MasterMailbox, T>>;

/** Where config.json says nothing. */
const TINY_TOTAL_BYTES = 2 ** 31;

export class ClientRequests {
  readonly #metadata: MetadataPort;
  readonly #workers: WorkerRegistry;
  readonly #placing: Placing;

  readonly #tinyTotalBytes: number;

  constructor(
    config: Pick<Config, "tinyTotalBytes">,
    metadata: MetadataPort,
    workers: WorkerRegistry,
    placing: Placing,
  ) {
    this.#tinyTotalBytes = config.tinyTotalBytes ?? TINY_TOTAL_BYTES;
    this.#metadata = metadata;
    this.#workers = workers;
    this.#placing = placing;
  }

  /** @throws WRONG_SENDER if the session is another gateway's */
  async execute({ command, ...proposal }: Asked<"EXECUTE">, sender: NodeId): Promise<Outcome> {
    const { sessionId } = proposal;
    if (sessionId === 0 && command.type !== "OPEN_SESSION")
      throw new Refusal("INVALID_MESSAGE", `${command.type} needs a session`);
    const client =
      command.type === "OPEN_SESSION" ? command.clientId : this.#metadata.row("session", { sessionId })?.clientId;
    // A session that has ended is refused where the command is decided.
    if (client !== undefined && client !== sender)
      throw new Refusal("WRONG_SENDER", `The session is of ${client}, and ${sender} signed the command`, {
        ...{ sender, what: command.type, allowed: [client] },
      });
    const { seq, lowestUnacked, idempotencyKey } = proposal;
    const taken = this.#withRoom(command);
    const outcome = await this.#metadata.execute({ command: taken, sessionId, seq, lowestUnacked, idempotencyKey });
    if (command.type === "SET_WORKER_MODE" && outcome.result.ok)
      await this.#workers.setMode(command.workerId, command.mode);
    return outcome;
  }

  /**
   * What this leader knows goes into the log with the bytes of a tiny file, so that all masters judge alike.
   *
   * @throws VERSION_TOO_LOW: below that version no log holds such a command, so an earlier try had no effect either
   */
  #withRoom(command: ClientCommand): ClientCommand {
    if (command.type !== "PUT_FILE" || command.content === undefined) return command;
    const { version } = this.#metadata;
    if (version < TINY_SINCE)
      throw new Refusal("VERSION_TOO_LOW", `Tiny files need cluster version ${TINY_SINCE}; it is ${version}`);
    return { ...command, room: { masters: this.#metadata.voters().length, totalBytes: this.#tinyTotalBytes } };
  }

  async stat({ path }: Asked<"STAT">): Answered<"STAT"> {
    await this.#metadata.confirmRead();
    return { entry: this.#metadata.queries.stat(path), index: this.#metadata.appliedIndex };
  }

  /** @throws PRECONDITION_FAILED if the file is another version than the one that is being read */
  async locate({ path, etag, offset, limit }: Asked<"LOCATE">): Answered<"LOCATE"> {
    await this.#metadata.confirmRead();
    const located = this.#metadata.queries.locate(path, offset, limit);
    const { entry, chunks } = located;
    const changed = etag !== null && (entry?.kind !== "file" || entry.etag !== etag);
    if (changed) throw new Refusal("PRECONDITION_FAILED", `${path} was replaced or deleted while it was read`);
    const holders = new Set(chunks.flatMap(({ workerIds }) => workerIds));
    return { ...located, workers: this.#placing.addresses(holders), index: this.#metadata.appliedIndex };
  }

  async list({ prefix, delimiter, after, limit }: Asked<"LIST">): Answered<"LIST"> {
    await this.#metadata.confirmRead();
    return {
      ...this.#metadata.queries.list({ prefix, delimiter, after, limit }),
      index: this.#metadata.appliedIndex,
    };
  }

  async uploadStatus({ uploadId }: Asked<"UPLOAD_STATUS">): Answered<"UPLOAD_STATUS"> {
    await this.#metadata.confirmRead();
    const { logTime } = this.#metadata;
    const upload = this.#metadata.row("upload", { uploadId });
    if (!upload || upload.expiresAt <= logTime) return { upload: null };
    return {
      upload: {
        path: upload.path,
        offset: upload.offset,
        crc32: upload.crc32,
        chunkCount: upload.chunkCount,
        chunkSizeBytes: upload.chunkSizeBytes,
        replicationFactor: upload.replicationFactor,
        minReplicas: upload.minReplicas,
        expiresInMs: Math.ceil(upload.expiresAt - logTime),
        contentType: upload.contentType,
        userMetadata: upload.userMetadata,
      },
    };
  }

  async readIndex(): Answered<"READ_INDEX"> {
    await this.#metadata.confirmRead();
    return { index: this.#metadata.appliedIndex };
  }
}
