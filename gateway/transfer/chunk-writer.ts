/**
 * Writes one chunk to its workers: blocks along the route, past those that fail, and at the end a seal on enough of
 * them. A worker that fails is dropped from this chunk; as long as one holds every block the chunk goes on, and copies
 * missing at the end are made from one that is there.
 */

import type { StoredChunk } from "../../actors/messages/chunk.ts";
import type { Config } from "../../actors/messages/config.ts";
import { Refusal } from "../../actors/messages/errors.ts";
import type { WorkerAddress } from "../../actors/messages/questions.ts";
import type { BlockOutcomes } from "../../actors/messages/worker.ts";
import type { BlockToPut } from "../../actors/node/http/block-requests.ts";
import { blockCount } from "../../actors/rules/byte-range.ts";
import { formatChunkId } from "../../actors/rules/chunk-id.ts";
import { combineCrc32 } from "../../actors/rules/crc32.ts";
import { declareInvariant, type Invariant } from "../../actors/rules/invariant.ts";
import { chooseRoute } from "../../actors/rules/redundancy/route.ts";
import type { Copies, PlacedChunk } from "../nodes/grants.ts";
import type { MasterClient } from "../nodes/master-client.ts";
import type { WorkerClients } from "../nodes/worker-client.ts";
import type { Bytes } from "../ports/transfers.ts";
import { Pulse } from "./pulse.ts";
import { type StragglerPatience, Stragglers } from "./stragglers.ts";

const onlyLastBlockIsShort: Invariant = declareInvariant("uploads: only the last block of a chunk is short");
const lengthIsSumOfBlocks: Invariant = declareInvariant("uploads: a sealed chunk is as long as its blocks together");

const MAX_REPLACEMENT_ROUNDS = 3;
/** Blocks copied at a time to a worker that joins late. */
const BACKFILL_IN_FLIGHT = 2;
/** Not retried: the answer is the same for every block, or the timeout is spent. */
const FINAL_CODES = ["NO_SPACE", "READ_ONLY", "CHUNK_SEALED", "TIMEOUT"];
/** Shares of the usual timeout. A silent chain is given up early: asking its members one by one finds the silent one. */
const PATIENCE = { direct: 1, chain: 0.5 };
/** How long a worker is still awaited once enough others have stored a block, or flushed a chunk. */
const STRAGGLERS = {
  block: { leastMs: 2000, times: 4 },
  seal: { leastMs: 1000, times: 2 },
} satisfies Record<string, StragglerPatience>;

export interface ChunkWriterOptions {
  masters: MasterClient;
  workers: WorkerClients;
  placed: PlacedChunk;
  copies: Copies;
  route: Config["route"];
  blockSizeBytes: number;
  chunkSizeBytes: number;
  /** Called with how many bytes more are held beside the blocks that are being written; negative: fewer. */
  onHeld(bytes: number): void;
  onWorkerLost(workerId: string, code: string): void;
  onWorkerReplaced(workerId: string): void;
}

interface Lost {
  workerId: string;
  code: string;
  message: string;
}

export class ChunkWriter {
  readonly #options: ChunkWriterOptions;
  /** Workers that hold every block so far; each with what cancels its requests. */
  readonly #live: Map<string, AbortController>;
  readonly #lost: Lost[] = [];
  readonly #blockCrcs: number[] = [];
  #lengthBytes = 0;
  #crc32 = 0;
  #chainBroke = false;
  readonly #cancelled = new AbortController();

  constructor(options: ChunkWriterOptions) {
    this.#options = options;
    this.#live = new Map(options.placed.workerIds.map((id) => [id, new AbortController()]));
  }

  get chunkId(): number {
    return this.#options.placed.chunkId;
  }
  get lengthBytes(): number {
    return this.#lengthBytes;
  }
  get crc32(): number {
    return this.#crc32;
  }

  /**
   * Sends the chunk's next block; blocks may be under way at the same time. Resolves when every worker that is not
   * lost has it.
   *
   * @throws TOO_FEW_REPLICAS when no worker is left
   */
  async write(bytes: Bytes, crc32: number): Promise<void> {
    await this.#spread(this.#append(bytes, crc32, false));
    this.#assertSomeLeft();
  }

  /** Writes a chunk of one block and seals it in the same request. @throws TOO_FEW_REPLICAS, NOT_ENOUGH_WORKERS */
  async writeWhole(bytes: Bytes, crc32: number): Promise<StoredChunk> {
    const write = this.#append(bytes, crc32, true);
    await this.#spread(write);
    return this.#reachEnough([...this.#live.keys()], (workerId) => this.#putDirectly(workerId, write));
  }

  /** After all writes have ended: seals on all, replaces what is missing. @throws TOO_FEW_REPLICAS, NOT_ENOUGH_WORKERS */
  async seal(): Promise<StoredChunk> {
    const sealed = await this.#sealOn([...this.#live.keys()]);
    return this.#reachEnough(sealed, async (workerId) => {
      await this.#backfill(sealed, workerId);
      return (await this.#sealOn([workerId])).length > 0;
    });
  }

  /** Aborts the requests under way; their writes end soon. */
  cancel(): void {
    for (const cancel of [...this.#live.values(), this.#cancelled]) cancel.abort();
  }

  /** Has the workers discard the chunk. Call it when no request is under way any more. */
  async abort(): Promise<void> {
    await Promise.all(this.#options.placed.workerIds.map((id) => this.#options.workers.abort(id, this.chunkId)));
  }

  #append(bytes: Bytes, crc32: number, seal: boolean): BlockToPut {
    const { blockSizeBytes } = this.#options;
    const block = this.#blockCrcs.push(crc32) - 1;
    onlyLastBlockIsShort.check(this.#lengthBytes === block * blockSizeBytes, { block, before: this.#lengthBytes });
    this.#lengthBytes += bytes.length;
    this.#crc32 = combineCrc32(this.#crc32, crc32, bytes.length);
    return { chunkId: this.chunkId, block, bytes, crc32, blockSizeBytes, seal };
  }

  async #spread(write: BlockToPut): Promise<void> {
    const { route: setting } = this.#options;
    const route = chooseRoute({
      setting,
      workers: [...this.#live.keys()],
      sealing: write.seal === true,
      chainBroke: this.#chainBroke,
    });
    const left = await Promise.all(route.map((leg) => (leg.length > 1 ? this.#alongChain(leg, write) : leg)));
    await this.#onEach(left.flat(), write.seal ? "seal" : "block", (workerId) => this.#putDirectly(workerId, write));
  }

  /** @returns the workers that the chain did not reach, as far as another attempt can help */
  async #alongChain(chain: readonly string[], write: BlockToPut): Promise<string[]> {
    const outcomes = await this.#options.workers.putBlock(chain, write, PATIENCE.chain, this.#cancelled.signal);
    const missing = outcomes.filter(({ workerId, stored }) => !stored && this.#live.has(workerId));
    if (missing.length > 0) this.#chainBroke = true;
    // A chain that timed out says nothing about its members, not even whether its head was the silent one.
    const isFinal = ({ workerId, code = "" }: BlockOutcomes[number]) =>
      FINAL_CODES.includes(code) && !(code === "TIMEOUT" && workerId === chain[0]);
    for (const { workerId, code = "", message = "" } of missing.filter(isFinal)) this.#lose(workerId, code, message);
    return missing.filter((outcome) => !isFinal(outcome)).map(({ workerId }) => workerId);
  }

  /**
   * Has each of these workers do its part. A worker that is still at it some time after enough others have
   * the chunk is lost; so is one that answers nothing at all while it should be flushing.
   *
   * @returns those that did it
   */
  async #onEach(
    workerIds: readonly string[],
    what: keyof typeof STRAGGLERS,
    part: (workerId: string) => Promise<boolean>,
  ): Promise<string[]> {
    if (workerIds.length === 0) return [];
    const others = this.#live.size - workerIds.filter((workerId) => this.#live.has(workerId)).length;
    const enough = this.#options.copies.minReplicas - others;
    const stragglers = new Stragglers(workerIds, enough, STRAGGLERS[what], (workerId) =>
      this.#lose(workerId, "TIMEOUT", "The other workers were done long before"),
    );
    const pulse = new Pulse(
      what === "seal" ? workerIds : [],
      (workerId) => this.#options.workers.answers(workerId, this.chunkId),
      (workerId) => this.#lose(workerId, "TIMEOUT", "It answers nothing while it should be flushing"),
    );
    const did: string[] = [];
    await Promise.all(
      workerIds.map(async (workerId) => {
        const isDone = (await part(workerId)) && this.#live.has(workerId);
        pulse.done(workerId);
        if (!isDone) return;
        did.push(workerId);
        stragglers.done(workerId);
      }),
    );
    stragglers.end();
    pulse.end();
    return did;
  }

  /** A block that arrived damaged is sent once more. */
  async #putDirectly(workerId: string, write: BlockToPut): Promise<boolean> {
    const put = () =>
      this.#options.workers.putBlock([workerId], write, PATIENCE.direct, this.#live.get(workerId)?.signal);
    let [outcome] = await put();
    if (outcome?.code === "CHECKSUM_MISMATCH") [outcome] = await put();
    if (outcome?.stored) return true;
    this.#lose(workerId, outcome?.code ?? "", outcome?.message ?? "");
    return false;
  }

  #sealOn(workerIds: string[]): Promise<string[]> {
    const { workers, blockSizeBytes } = this.#options;
    return this.#onEach(workerIds, "seal", (workerId) =>
      workers
        .seal(
          workerId,
          { chunkId: this.chunkId, lengthBytes: this.#lengthBytes, crc32: this.#crc32, blockSizeBytes },
          this.#live.get(workerId)?.signal,
        )
        .then(
          () => true,
          ({ code, message }: Refusal) => {
            this.#lose(workerId, code, message);
            return false;
          },
        ),
    );
  }

  /** Copies are made on replacements until `minReplicas` hold the sealed chunk; beyond that the leader repairs. */
  async #reachEnough(sealedOn: string[], supply: (workerId: string) => Promise<boolean>): Promise<StoredChunk> {
    const { workers, copies, blockSizeBytes } = this.#options;
    const blocks = this.#blockCrcs.length;
    const isWhole = blocks === blockCount(this.#lengthBytes, blockSizeBytes);
    lengthIsSumOfBlocks.check(isWhole, { lengthBytes: this.#lengthBytes, blocks, blockSizeBytes });
    const sealed = [...sealedOn];
    for (let round = 0; sealed.length < copies.minReplicas; round++) {
      this.#assertSomeLeft();
      if (round === MAX_REPLACEMENT_ROUNDS) throw this.#tooFew(`${sealed.length} of ${copies.minReplicas}`);
      const replacements = await this.#replacements(sealed);
      if (replacements.length === 0) throw this.#tooFew(`${sealed.length} of ${copies.minReplicas}`);
      workers.learn(replacements);
      await Promise.all(
        replacements.map(async ({ id }) => {
          this.#live.set(id, new AbortController());
          this.#options.onWorkerReplaced(id);
          if (await supply(id)) sealed.push(id);
        }),
      );
    }
    return { chunkId: this.chunkId, lengthBytes: this.#lengthBytes, crc32: this.#crc32, workerIds: sealed };
  }

  /**
   * Workers that may take the chunk. Those that failed other chunks a moment ago are asked for only if there are no others:
   * the leader judges better than one failed request whether a worker lives.
   */
  async #replacements(holders: string[]): Promise<WorkerAddress[]> {
    const { masters, workers, copies, chunkSizeBytes } = this.#options;
    const ask = async (without: string[]): Promise<WorkerAddress[]> => {
      const count = copies.replicationFactor - holders.length;
      const exclude = [...new Set(without)].slice(0, 64);
      const question = { type: "REPLACE_WORKERS", chunkSizeBytes, count, holders, exclude } as const;
      return (await masters.ask(question, { underWay: true })).workers;
    };
    const lost = this.#lost.map(({ workerId }) => workerId);
    const avoided = Object.keys(workers.avoided());
    const others = await ask([...lost, ...avoided]);
    return others.length === 0 && avoided.some((id) => !lost.includes(id)) ? await ask(lost) : others;
  }

  /** Copies every block from a survivor to a replacement, each checked on the way. */
  async #backfill(sources: string[], target: string): Promise<void> {
    const { blockSizeBytes, onHeld } = this.#options;
    let next = 0;
    const copyBlocks = async () => {
      while (next < this.#blockCrcs.length && this.#live.has(target)) {
        const block = next++;
        const crc32 = this.#blockCrcs[block] as number;
        onHeld(blockSizeBytes);
        try {
          const bytes = await this.#readBack(sources, block, crc32);
          if (!bytes) return this.#lose(target, "SOURCE_UNAVAILABLE", "No source of the copy could be read");
          await this.#putDirectly(target, { chunkId: this.chunkId, block, bytes, crc32, blockSizeBytes, seal: false });
        } finally {
          onHeld(-blockSizeBytes);
        }
      }
    };
    await Promise.all(Array.from({ length: BACKFILL_IN_FLIGHT }, copyBlocks));
  }

  async #readBack(sources: string[], block: number, crc32: number): Promise<Bytes | null> {
    for (const source of this.#options.workers.rank(sources)) {
      const bytes = await this.#options.workers
        .getBlocks(source, this.chunkId, block, 1, this.#cancelled.signal)
        .catch(() => null);
      if (bytes && Bun.hash.crc32(bytes) === crc32) return bytes;
    }
    return null;
  }

  #lose(workerId: string, code: string, message: string): void {
    const cancel = this.#live.get(workerId);
    if (!cancel) return;
    this.#live.delete(workerId);
    cancel.abort();
    this.#lost.push({ workerId, code, message });
    this.#options.workers.failed(workerId, `${code}: ${message}`);
    this.#options.onWorkerLost(workerId, code);
    void this.#options.workers.abort(workerId, this.chunkId);
  }

  #assertSomeLeft(): void {
    if (this.#live.size === 0) throw this.#tooFew("none");
  }

  #tooFew(have: string): Refusal {
    return new Refusal(
      "TOO_FEW_REPLICAS",
      `Cannot store chunk ${formatChunkId(this.chunkId)}: ${have} of its copies could be written`,
      {
        lost: this.#lost,
      },
    );
  }
}
