/**
 * Reads a recording as its bytes come: unpacked in small pieces, parsed line by line, each step bounded. It yields often, so
 * that a page or a gateway never stands still. Pure but for `DecompressionStream` and one timer; runs in a browser.
 */
import type { ActorState, RecordingHeader, StepRecord } from "./api.ts";
import { RECORDING_FORMAT, RECORDING_VERSION } from "./recording-format.ts";

/** Of a file as it is, and of what it unpacks to: 200,000 records, the most that a gateway exports, come to 100 MB. */
export interface RecordingLimits {
  packedBytes: number;
  unpackedBytes: number;
}
export const RECORDING_LIMITS: RecordingLimits = { packedBytes: 256 << 20, unpackedBytes: 512 << 20 };
/** Nodes and the charts of their machines: 70 KB as a rule. */
const MOST_HEADER_BYTES = 2 << 20;
/** One record, or one actor of the keyframe: 3 KB at most, as nodes write them. */
const MOST_ITEM_BYTES = 256 << 10;
/** A piece unpacks to a thousand times as much at worst. */
const PIECE_BYTES = 16 << 10;
/** The reader gives way to other work after this. */
const TURN_MS = 8;

/** What is wrong with a file, in words for the person who opens it. */
export class BadRecording extends Error {
  constructor(
    message: string,
    readonly code: "BAD_RECORDING" | "UNKNOWN_RECORDING_VERSION" = "BAD_RECORDING",
  ) {
    super(message);
  }
}

/** What comes out, in the order of the file. */
export interface RecordingParts {
  actor?(state: ActorState): void;
  record?(record: StepRecord): void;
}

/**
 * @param source the file as it is, gzipped or not
 * @returns the header, once the whole file was read
 * @throws BadRecording; whatever breaks the source
 */
export async function readParts(
  source: AsyncIterable<Uint8Array<ArrayBuffer>>,
  parts: RecordingParts,
  limits = RECORDING_LIMITS,
): Promise<RecordingHeader> {
  const lines = new Lines(parts);
  let turn = performance.now();
  for await (const bytes of unpacked(source, limits)) {
    for (let from = 0; from < bytes.length; from += PIECE_BYTES) {
      lines.push(bytes.subarray(from, from + PIECE_BYTES));
      if (performance.now() - turn < TURN_MS) continue;
      await new Promise((resolve) => setTimeout(resolve));
      turn = performance.now();
    }
  }
  return lines.end();
}

// ── bytes ──────────────────────────────────────────────────────────────────────────────────────────────────────────

const tooLong = (what: string, bytes: number): BadRecording =>
  new BadRecording(`${what} has more than ${bytes / 1048576} MiB`);

type Pieces = AsyncGenerator<Uint8Array<ArrayBuffer>, void>;

async function* pieces(source: AsyncIterable<Uint8Array<ArrayBuffer>>, mostBytes: number): Pieces {
  let packed = 0;
  for await (const bytes of source) {
    packed += bytes.length;
    if (packed > mostBytes) throw tooLong("The file", mostBytes);
    for (let from = 0; from < bytes.length; from += PIECE_BYTES) yield bytes.subarray(from, from + PIECE_BYTES);
  }
}

async function* unpacked(
  source: AsyncIterable<Uint8Array<ArrayBuffer>>,
  { packedBytes, unpackedBytes }: RecordingLimits,
): AsyncGenerator<Uint8Array, void> {
  const incoming = pieces(source, packedBytes);
  const head = await atLeastTwo(incoming);
  const [first] = head;
  if (!first) throw new BadRecording("The file is empty");
  const isPacked = first[0] === 0x1f && first[1] === 0x8b;
  let bytes = 0;
  for await (const piece of isPacked ? gunzipped(head, incoming) : joined(head, incoming)) {
    bytes += piece.length;
    if (bytes > unpackedBytes) throw tooLong("The recording", unpackedBytes);
    yield piece;
  }
}

/** A packed file is known by its first two bytes, and a network may cut between them. */
async function atLeastTwo(incoming: Pieces): Promise<Uint8Array<ArrayBuffer>[]> {
  let first = new Uint8Array(0);
  while (first.length < 2) {
    const { done, value } = await incoming.next();
    if (done) break;
    first = first.length === 0 ? value : new Uint8Array([...first, ...value]);
  }
  return first.length === 0 ? [] : [first];
}

async function* joined(head: Uint8Array<ArrayBuffer>[], rest: Pieces): Pieces {
  yield* head;
  yield* rest;
}

async function* gunzipped(head: Uint8Array<ArrayBuffer>[], rest: Pieces): AsyncGenerator<Uint8Array, void> {
  const incoming = joined(head, rest);
  let broken: unknown;
  const packed = new ReadableStream<Uint8Array<ArrayBuffer>>({
    async pull(controller) {
      try {
        const { done, value } = await incoming.next();
        if (done) controller.close();
        else controller.enqueue(value);
      } catch (error) {
        broken = error;
        controller.error(error);
      }
    },
    cancel: () => void incoming.return(),
  });
  try {
    yield* streamed(packed.pipeThrough(new DecompressionStream("gzip")));
  } catch {
    throw broken ?? new BadRecording("The file is cut off or damaged: it cannot be unpacked");
  }
}

/** Streams are no iterables in every browser. */
export async function* streamed(
  stream: ReadableStream<Uint8Array<ArrayBuffer>>,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void> {
  const reader = stream.getReader();
  try {
    for (let next = await reader.read(); !next.done; next = await reader.read()) yield next.value;
  } finally {
    await reader.cancel().catch(() => {});
  }
}

// ── lines ──────────────────────────────────────────────────────────────────────────────────────────────────────────

const NEWLINE = 10;
const [QUOTE, BACKSLASH, COMMA, OPEN, CLOSE] = [34, 92, 44, 123, 125];
const [LIST_OPEN, LIST_CLOSE] = [91, 93];
const KEYFRAME_BEGINS = '{"keyframe":[';
const KEYFRAME_ENDS = "]}";

/** Cuts the text into header, actors of the keyframe, and records, however its bytes arrive. */
class Lines {
  readonly #parts: RecordingParts;
  readonly #decoder = new TextDecoder();
  #header: RecordingHeader | null = null;
  #keyframe: Keyframe | null = null;
  #line = 1;
  /** What there is of a line that has not ended. */
  #pending: Uint8Array[] = [];
  #pendingBytes = 0;

  constructor(parts: RecordingParts) {
    this.#parts = parts;
  }

  push(bytes: Uint8Array): void {
    for (let from = 0; from < bytes.length; ) {
      const end = bytes.indexOf(NEWLINE, from);
      const piece = bytes.subarray(from, end < 0 ? bytes.length : end);
      if (this.#line === 2) this.#keyframe?.push(piece);
      else this.#hold(piece);
      if (end < 0) return;
      this.#endLine(true);
      from = end + 1;
    }
  }

  /** @throws BadRecording if something is missing */
  end(): RecordingHeader {
    if (this.#pendingBytes > 0 || this.#line === 2) this.#endLine(false);
    if (this.#header === null) throw new BadRecording("The file is no recording of this program");
    if (this.#line === 2) throw new BadRecording("Line 2 is no keyframe");
    return this.#header;
  }

  #hold(piece: Uint8Array): void {
    const most = this.#line === 1 ? MOST_HEADER_BYTES : MOST_ITEM_BYTES;
    this.#pendingBytes += piece.length;
    if (this.#pendingBytes > most)
      throw this.#line === 1
        ? new BadRecording("The file is no recording of this program")
        : new BadRecording(`Line ${this.#line} is no record: it has more than ${most / 1024} KiB`);
    if (piece.length > 0) this.#pending.push(piece);
  }

  #text(): string {
    const text = this.#pending.map((piece) => this.#decoder.decode(piece, { stream: true })).join("");
    this.#pending = [];
    this.#pendingBytes = 0;
    return text + this.#decoder.decode();
  }

  #endLine(isEnded: boolean): void {
    if (this.#line === 1) {
      this.#header = headerOf(parse(this.#text()));
      this.#keyframe = new Keyframe((state) => this.#parts.actor?.(state));
    } else if (this.#line === 2) this.#keyframe?.end();
    else {
      const record = parse(this.#text()) as StepRecord | undefined;
      if (!record || !isRecord(record))
        throw new BadRecording(`Line ${this.#line} is no record${isEnded ? "" : "; the file is cut off"}`);
      this.#parts.record?.(record);
    }
    this.#line++;
  }
}

/** Line 2, `{"keyframe":[{…},{…}]}`: as long as a cluster has actors, so it is parsed one actor at a time. */
class Keyframe {
  readonly #take: (state: ActorState) => void;
  readonly #decoder = new TextDecoder();
  #before = "";
  #after = "";
  #depth = 0;
  #isInString = false;
  #isEscaped = false;
  #needsComma = false;
  #hasComma = false;
  #item: Uint8Array[] = [];
  #itemBytes = 0;

  constructor(take: (state: ActorState) => void) {
    this.#take = take;
  }

  push(bytes: Uint8Array): void {
    let from = 0;
    for (let n = 0; n < bytes.length; n++) {
      const byte = bytes[n] as number;
      if (this.#depth > 0) {
        if (!this.#closes(byte)) continue;
        this.#hold(bytes.subarray(from, n + 1));
        this.#endItem();
      } else if (this.#before.length < KEYFRAME_BEGINS.length) this.#before += String.fromCharCode(byte);
      else if (byte === OPEN && this.#after === "" && (!this.#needsComma || this.#hasComma)) {
        this.#depth = 1;
        from = n;
      } else if (byte === COMMA && this.#needsComma && !this.#hasComma && this.#after === "") this.#hasComma = true;
      else this.#after += String.fromCharCode(byte);
      if (this.#after.length > KEYFRAME_ENDS.length) throw NO_KEYFRAME();
    }
    if (this.#depth > 0) this.#hold(bytes.subarray(from));
  }

  /** @returns whether this byte ends the actor */
  #closes(byte: number): boolean {
    if (this.#isInString) {
      if (this.#isEscaped) this.#isEscaped = false;
      else if (byte === BACKSLASH) this.#isEscaped = true;
      else if (byte === QUOTE) this.#isInString = false;
    } else if (byte === QUOTE) this.#isInString = true;
    else if (byte === OPEN || byte === LIST_OPEN) this.#depth++;
    else if (byte === CLOSE || byte === LIST_CLOSE) this.#depth--;
    return this.#depth === 0;
  }

  #hold(piece: Uint8Array): void {
    this.#itemBytes += piece.length;
    if (this.#itemBytes > MOST_ITEM_BYTES) throw NO_KEYFRAME();
    this.#item.push(piece);
  }

  #endItem(): void {
    const text =
      this.#item.map((piece) => this.#decoder.decode(piece, { stream: true })).join("") + this.#decoder.decode();
    this.#item = [];
    this.#itemBytes = 0;
    const state = parse(text) as ActorState | undefined;
    if (!state || !isActor(state)) throw NO_KEYFRAME();
    this.#take(state);
    this.#needsComma = true;
    this.#hasComma = false;
  }

  end(): void {
    if (this.#before !== KEYFRAME_BEGINS || this.#after !== KEYFRAME_ENDS || this.#hasComma) throw NO_KEYFRAME();
  }
}

// ── their shapes ───────────────────────────────────────────────────────────────────────────────────────────────────

const NO_KEYFRAME = (): BadRecording => new BadRecording("Line 2 is no keyframe");

function parse(line: string): unknown {
  try {
    return JSON.parse(line) ?? undefined;
  } catch {
    return undefined;
  }
}

function headerOf(value: unknown): RecordingHeader {
  const header = value as Partial<RecordingHeader> | undefined;
  if (header?.format !== RECORDING_FORMAT) throw new BadRecording("The file is no recording of this program");
  if (header.version !== RECORDING_VERSION)
    throw new BadRecording(
      `The recording has version ${JSON.stringify(header.version)?.slice(0, 40)}; this program reads version ${RECORDING_VERSION}`,
      "UNKNOWN_RECORDING_VERSION",
    );
  if (!Array.isArray(header.nodes) || !Array.isArray(header.machines))
    throw new BadRecording("Line 1 lacks nodes or machines");
  return header as RecordingHeader;
}

const isActor = ({ n, b, q, h, t, m, a, v }: ActorState): boolean =>
  typeof n === "string" &&
  Number.isInteger(b) &&
  Number.isInteger(q) &&
  /^[0-9a-f]{16}$/.test(h) &&
  typeof t === "number" &&
  typeof m === "string" &&
  typeof a === "string" &&
  typeof v === "string";

const isRecord = (value: StepRecord): boolean =>
  typeof value === "object" && isActor(value) && typeof value.e === "string";
