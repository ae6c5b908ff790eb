/**
 * Snapshots of the applied state for masters that need entries which the log no longer holds. The leader makes one on
 * demand, beside its work; the follower fetches it over HTTP, checks it, and adopts it in one transaction.
 */
import { createReadStream, mkdirSync, readdirSync, rmSync, statSync } from "node:fs";
import { type FileHandle, open, rename } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type BackupManifest, backupHead } from "../../../databases/metadata/backup.ts";
import { Refusal } from "../../messages/errors.ts";
import type { NodeId } from "../../messages/primitives.ts";
import type { RaftMessageOf } from "../../messages/raft.ts";
import { refusalOf } from "../../node/http/answers.ts";
import { stream } from "../../node/http/request.ts";
import type { Identity } from "../../node/identity/identity.ts";
import type { Logger } from "../../node/log.ts";
import { longWork, RECOVERY_LIMIT_MS } from "../../node/watchdog/current-work.ts";
import { configurationAt } from "../../rules/raft/membership.ts";
import type { RaftMetadata } from "./raft-metadata.ts";

const OFFER_EVERY_MS = 2000;
const PIECE_BYTES = 1 << 20;
/** A source that sends nothing for this long is given up: it may be gone without a word. It offers again if it is not. */
const SILENCE_MS = 10_000;

interface Snapshot {
  index: number;
  term: number;
  path: string;
  sizeBytes: number;
  sha256: string;
}

export class Snapshots {
  readonly #metadata: RaftMetadata;
  readonly #identity: Identity;
  readonly #url: string;
  readonly #folder: string;
  readonly #log: Logger;
  readonly #send: (message: RaftMessageOf<"rpc.snapshotOffer">) => void;
  readonly #silenceMs: number;
  #making: Promise<Snapshot> | null = null;
  #drafts = 0;
  #installing = false;
  /** The transfer under way, or broken off. */
  #part: { path: string; sha256: string; bytes: number; hasher: Bun.CryptoHasher } | null = null;
  #offering = 0;
  #offeredIndex = 0;

  constructor(parts: {
    metadata: RaftMetadata;
    identity: Identity;
    url: string;
    dataDirectory: string;
    log: Logger;
    send: (message: RaftMessageOf<"rpc.snapshotOffer">) => void;
    silenceMs?: number;
  }) {
    this.#metadata = parts.metadata;
    this.#identity = parts.identity;
    this.#url = parts.url;
    this.#folder = join(parts.dataDirectory, "snapshots");
    this.#log = parts.log;
    this.#send = parts.send;
    this.#silenceMs = parts.silenceMs ?? SILENCE_MS;
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /** The log behind a snapshot that is being fetched is kept, or its receiver would need another one at once. */
  get neededFrom(): number {
    return this.#offering > 0 ? this.#offeredIndex : Number.POSITIVE_INFINITY;
  }

  // ── the leader's side ────────────────────────────────────────────────────────────────────────────────────────────

  /** Offers a snapshot, again and again, until the follower has it or this master leads no more. */
  async offer(to: NodeId): Promise<void> {
    this.#offering++;
    // Nothing more is cut off until there is a snapshot.
    if (this.#offering === 1) this.#offeredIndex = 0;
    try {
      const { raft } = this.#metadata;
      const needed = () => raft.role === "leader" && raft.state.progress[to]?.mode === "snapshot";
      while (needed()) {
        let snapshot = await this.#latest();
        if (snapshot.index < raft.state.log.baseIndex) {
          this.#making = null;
          snapshot = await this.#latest();
        }
        if (!needed()) return;
        this.#offeredIndex = snapshot.index;
        this.#send({
          type: "rpc.snapshotOffer",
          from: raft.state.id,
          to,
          term: raft.state.term,
          snapshotIndex: snapshot.index,
          snapshotTerm: snapshot.term,
          configuration: configurationAt(raft.state, snapshot.index),
          url: `${this.#url}/raft/snapshots/${snapshot.index}`,
          sizeBytes: snapshot.sizeBytes,
          sha256: snapshot.sha256,
        });
        await Bun.sleep(OFFER_EVERY_MS);
      }
    } catch (err) {
      this.#log.error({ event: "snapshot-failed", to, err }, "a snapshot could not be made");
    } finally {
      this.#offering--;
    }
  }

  #latest(): Promise<Snapshot> {
    this.#making ??= this.#make().catch((error) => {
      this.#making = null;
      throw error;
    });
    return this.#making;
  }

  async #make(): Promise<Snapshot> {
    mkdirSync(this.#folder, { recursive: true });
    const draft = join(this.#folder, `draft-${++this.#drafts}.db`);
    const applied = await this.#metadata.store.copyTo(draft);
    const path = join(this.#folder, `${applied.index}.db`);
    await rename(draft, path);
    // A file that is being read outlives its name.
    for (const name of readdirSync(this.#folder))
      if (name !== `${applied.index}.db` && !name.startsWith("draft-")) rmSync(join(this.#folder, name));
    const snapshot = { ...applied, path, sizeBytes: statSync(path).size, sha256: await sha256Of(path) };
    this.#log.info({ event: "snapshot-made", index: snapshot.index, bytes: snapshot.sizeBytes }, "snapshot made");
    return snapshot;
  }

  /** Answers `GET /raft/snapshots/{index}`. @param range `bytes=N-`, to go on where a transfer broke off */
  async serve(index: string, range: string | null): Promise<Response> {
    const snapshot = await this.#making;
    if (!snapshot || String(snapshot.index) !== index)
      throw new Refusal("NO_SUCH_FILE", `There is no snapshot ${index}`);
    const { path, sizeBytes } = snapshot;
    const from = Number(/^bytes=(\d+)-$/.exec(range ?? "")?.[1] ?? 0);
    if (from >= sizeBytes) throw new Refusal("RANGE_NOT_SATISFIABLE", `The snapshot has ${sizeBytes} bytes`);
    return new Response(Bun.file(path).slice(from), {
      status: 206,
      headers: { "content-range": `bytes ${from}-${sizeBytes - 1}/${sizeBytes}` },
    });
  }

  /** A backup of the state as it is now. The caller has made sure that this master leads. */
  async backup(): Promise<{ manifest: BackupManifest; body: ReadableStream<Uint8Array> }> {
    const making = this.#make();
    this.#making = making;
    making.catch(() => {
      if (this.#making === making) this.#making = null;
    });
    const { index, term, sizeBytes, sha256, path } = await making;
    const file = await open(path, "r");
    const configuration = configurationAt(this.#metadata.raft.state, index);
    const { clusterId } = this.#metadata.identity;
    const manifest = { clusterId, index, term, configuration, at: Date.now(), sizeBytes, sha256 };
    return { manifest, body: streamOf(backupHead(manifest), file) };
  }

  // ── the follower's side ──────────────────────────────────────────────────────────────────────────────────────────

  async install(offer: RaftMessageOf<"rpc.snapshotOffer">): Promise<void> {
    if (this.#installing || offer.snapshotIndex <= this.#metadata.appliedIndex) return;
    this.#installing = true;
    try {
      await this.#fetch(offer, this.#metadata.nextStatePath);
      if (offer.snapshotIndex > this.#metadata.appliedIndex)
        longWork("adopt a snapshot", RECOVERY_LIMIT_MS, () => this.#metadata.adoptSnapshot(offer));
      this.#log.info({ event: "snapshot-installed", index: offer.snapshotIndex }, "snapshot installed");
    } catch (err) {
      this.#log.warn(
        { event: "snapshot-not-installed", err },
        "a snapshot could not be installed; it will be offered again",
      );
    } finally {
      this.#installing = false;
    }
  }

  /** @throws what broke it off; the same snapshot goes on from there, another one begins anew */
  async #fetch(offer: RaftMessageOf<"rpc.snapshotOffer">, path: string): Promise<void> {
    const patience = new Patience(this.#silenceMs);
    try {
      await this.#receive(offer, path, patience);
    } finally {
      patience.end();
    }
    const folder = await open(dirname(path), "r");
    await folder.sync().finally(() => folder.close());
  }

  async #receive(
    { url, sizeBytes, sha256 }: RaftMessageOf<"rpc.snapshotOffer">,
    path: string,
    patience: Patience,
  ): Promise<void> {
    const begun = this.#part?.sha256 === sha256 && this.#part.path === path ? this.#part : null;
    const part = begun ?? { path, sha256, bytes: 0, hasher: new Bun.CryptoHasher("sha256") };
    this.#part = part;
    const { pathname } = new URL(url);
    const response = await stream(url, {
      headers: {
        authorization: this.#identity.credentials.sign("GET", pathname, ""),
        range: `bytes=${part.bytes}-`,
      },
      signal: patience.signal,
    });
    if (!response.ok || !response.body) throw await refusalOf(response, url);
    if (part.bytes > 0 && response.status !== 206) {
      this.#part = null;
      throw new Refusal("SOURCE_UNAVAILABLE", "The snapshot's source cannot go on in the middle; it is fetched anew");
    }
    if (part.bytes === 0) for (const end of ["", "-wal", "-shm"]) rmSync(`${path}${end}`, { force: true });
    const file = await open(path, "a", 0o600);
    try {
      // What a write that failed left behind was not counted.
      await file.truncate(part.bytes);
      for await (const piece of response.body as ReadableStream<Uint8Array>) {
        if (part.bytes + piece.length > sizeBytes) break;
        await file.appendFile(piece);
        part.hasher.update(piece);
        part.bytes += piece.length;
        patience.renew();
      }
      if (part.bytes < sizeBytes) throw new Refusal("SOURCE_UNAVAILABLE", "The snapshot was cut off on its way");
      this.#part = null;
      if (part.hasher.digest("hex") !== sha256)
        throw new Refusal("DIGEST_MISMATCH", "The snapshot was damaged on its way");
      await file.sync();
    } finally {
      await file.close();
    }
  }
}

/** Gives up when it was not renewed for this long. */
class Patience {
  readonly #controller = new AbortController();
  #timer: Timer | undefined;

  constructor(readonly silenceMs: number) {
    this.renew();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  renew(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(
      () => this.#controller.abort(new Refusal("SOURCE_UNAVAILABLE", "Nothing more of the snapshot comes")),
      this.silenceMs,
    );
  }

  end(): void {
    clearTimeout(this.#timer);
  }
}

function streamOf(head: Uint8Array, file: FileHandle): ReadableStream<Uint8Array> {
  const pieces = (async function* () {
    try {
      yield head;
      for (;;) {
        const { bytesRead, buffer } = await file.read(new Uint8Array(PIECE_BYTES), 0, PIECE_BYTES);
        if (bytesRead === 0) return;
        yield buffer.subarray(0, bytesRead);
      }
    } finally {
      await file.close();
    }
  })();
  return new ReadableStream(
    {
      async pull(controller) {
        const { done, value } = await pieces.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      async cancel() {
        await pieces.return(undefined);
        // A reader that left before the first piece: nothing has begun that could end.
        await file.close().catch(() => {});
      },
    },
    { highWaterMark: 0 },
  );
}

async function sha256Of(path: string): Promise<string> {
  const hasher = new Bun.CryptoHasher("sha256");
  for await (const piece of createReadStream(path, { highWaterMark: 1 << 20 })) hasher.update(piece as Buffer);
  return hasher.digest("hex");
}
