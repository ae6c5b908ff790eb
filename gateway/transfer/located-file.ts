/** Where one version of a file lies: its chunks, page by page, from the leader. */
import type { FileInfo } from "../../actors/messages/commands.ts";
import { Refusal } from "../../actors/messages/errors.ts";
import type { LocateAnswer, LocatedChunk } from "../../actors/messages/questions.ts";
import { isTiny } from "../../actors/rules/decide/contents.ts";
import type { MasterClient } from "../nodes/master-client.ts";
import type { WorkerClients } from "../nodes/worker-client.ts";
import type { Consistency } from "../ports/namespace.ts";
import type { Bytes } from "../ports/transfers.ts";
import { VersionGone } from "../ports/version-gone.ts";

/** Enough for 8 GiB of full-size chunks; a longer file asks for more, in larger pages. */
const FIRST_PAGE = 64;
const NEXT_PAGES = 1000;

export class LocatedFile {
  readonly #masters: MasterClient;
  readonly #workers: WorkerClients;
  #page: LocatedChunk[];

  private constructor(
    readonly file: FileInfo,
    /** Of the first answer; later pages come from the leader, and only if the file is still this version. */
    readonly ageMs: number,
    masters: MasterClient,
    workers: WorkerClients,
    page: LocatedChunk[],
    /** All bytes of a tiny file, checked; null: they are in chunks. */
    readonly content: Bytes | null,
  ) {
    this.#masters = masters;
    this.#workers = workers;
    this.#page = page;
  }

  /**
   * @param etag the version to read, or null for the present one
   * @throws NO_SUCH_FILE, IS_A_DIRECTORY, PRECONDITION_FAILED if the file is another version
   */
  static async open(
    masters: MasterClient,
    workers: WorkerClients,
    path: string,
    etag: string | null,
    consistency: Consistency = "strong",
  ) {
    const question = { type: "LOCATE", path, offset: 0, limit: FIRST_PAGE } as const;
    const answer = await masters.read<"LOCATE">({ ...question, etag, consistency });
    const file = fileOf(answer, path, consistency === "eventual" ? { ageMs: answer.ageMs ?? 0 } : {});
    if (etag !== null && file.etag !== etag)
      throw new Refusal("PRECONDITION_FAILED", `"${path}" is another version now`, { etag: file.etag });
    workers.learn(answer.workers);
    const again = () => masters.read<"LOCATE">({ ...question, etag: file.etag, consistency: "eventual" });
    const content = isTiny(file) ? (goodContent(answer, file) ?? goodContent(await again(), file)) : null;
    if (isTiny(file) && content === null)
      throw new Refusal("DATA_UNAVAILABLE", `The bytes of "${path}" in the metadata are not those of its CRC-32`);
    return new LocatedFile(file, answer.ageMs ?? 0, masters, workers, answer.chunks, content);
  }

  /** The chunk that holds the byte at `offset`. @throws VersionGone if it is not this version any more */
  async chunkAt(offset: number): Promise<LocatedChunk> {
    const holds = ({ offset: start, lengthBytes }: LocatedChunk) => start <= offset && offset < start + lengthBytes;
    const known = this.#page.find(holds);
    if (known) return known;
    this.#page = await this.#locate(offset, NEXT_PAGES);
    const found = this.#page.find(holds);
    if (!found) throw new Refusal("DATA_UNAVAILABLE", `No chunk of "${this.file.path}" holds byte ${offset}`);
    return found;
  }

  /** The same chunk, with the workers that hold it now. @throws VersionGone */
  async locateAgain(chunk: LocatedChunk): Promise<LocatedChunk> {
    const [found] = await this.#locate(chunk.offset, 1);
    return found?.chunkId === chunk.chunkId ? found : chunk;
  }

  async #locate(offset: number, limit: number): Promise<LocatedChunk[]> {
    const { path, etag } = this.file;
    const question = { type: "LOCATE", path, etag, offset, limit } as const;
    const answer = await this.#masters.ask(question, { underWay: true }).catch((error) => {
      throw error instanceof Refusal && error.code === "PRECONDITION_FAILED" ? new VersionGone(path) : error;
    });
    this.#workers.learn(answer.workers);
    return answer.chunks;
  }
}

function fileOf({ entry }: LocateAnswer, path: string, age: { ageMs?: number }): FileInfo {
  const found = { path, ...age };
  if (entry === null) throw new Refusal("NO_SUCH_FILE", `There is no file "${path}"`, found);
  if (entry.kind === "directory") throw new Refusal("IS_A_DIRECTORY", `"${path}" is a directory`, found);
  return entry;
}

/** What a master answered for a tiny file; null if it is damaged: the bytes of one version are the same on every master. */
function goodContent({ content }: LocateAnswer, { sizeBytes, crc32 }: FileInfo): Bytes | null {
  const isGood = content?.length === sizeBytes && Bun.hash.crc32(content) === crc32;
  return isGood ? (content as Bytes) : null;
}
