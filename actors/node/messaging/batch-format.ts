/**
 * The format of several messages in one request, and of their answers, each sent as soon as it is there.
 *
 *     request   msgpack [[envelope, cause or null, trace context if there is one], …]
 *     answer    frames one behind another: length in bytes (32 bits, big-endian), msgpack [[n, status, value, cause or null], …]
 */
import { Refusal } from "../../messages/errors.ts";
import { decode, encode } from "../http/wire.ts";
import type { Carried } from "../trace/carry.ts";

/**
 * One message, encoded as it would travel alone. Nodes of older versions send two parts, and look at two.
 */
export type Letter = [envelope: Uint8Array, cause: string | null, carried?: Carried];
/** The answer to the n-th letter of the request. */
export type LetterAnswer = [n: number, status: number, value: unknown, cause: string | null];

/** Paths that take messages: one alone, and several together. */
export const MESSAGES = "/messages";
export const BATCH = "/messages/batch";

export const MAX_LETTERS = 64;
export const MAX_FRAME_BYTES = 256 << 20;
const LENGTH_BYTES = 4;

export const encodeLetters = (letters: readonly Letter[]): Uint8Array<ArrayBuffer> => encode(letters);

/** @throws INVALID_MESSAGE */
export function decodeLetters(bytes: Uint8Array): Letter[] {
  let letters: unknown;
  try {
    letters = decode(bytes);
  } catch {
    throw new Refusal("INVALID_MESSAGE", "The body is not msgpack");
  }
  const isLetter = (one: unknown): boolean =>
    Array.isArray(one) && one[0] instanceof Uint8Array && (one[1] === null || typeof one[1] === "string");
  if (!Array.isArray(letters) || letters.length === 0 || letters.length > MAX_LETTERS || !letters.every(isLetter))
    throw new Refusal("INVALID_MESSAGE", `The body is not a list of 1 to ${MAX_LETTERS} [envelope, cause]`);
  return letters as Letter[];
}

export function encodeAnswers(answers: readonly LetterAnswer[]): Uint8Array<ArrayBuffer> {
  const content = encode(answers);
  const frame = new Uint8Array(LENGTH_BYTES + content.length);
  new DataView(frame.buffer).setUint32(0, content.length);
  frame.set(content, LENGTH_BYTES);
  return frame;
}

/** Answers as they come. @throws if the body is ill-formed; the error that breaks the connection */
export async function* readAnswers(body: AsyncIterable<Uint8Array>): AsyncGenerator<LetterAnswer[], void> {
  let pending: Uint8Array = new Uint8Array(0);
  for await (const piece of body) {
    pending = pending.length === 0 ? piece : Buffer.concat([pending, piece]);
    while (pending.length >= LENGTH_BYTES) {
      const length = new DataView(pending.buffer, pending.byteOffset).getUint32(0);
      if (length > MAX_FRAME_BYTES) throw new Error(`a frame of ${length} bytes`);
      if (pending.length < LENGTH_BYTES + length) break;
      const answers = decode(pending.subarray(LENGTH_BYTES, LENGTH_BYTES + length));
      if (!Array.isArray(answers)) throw new Error("a frame that is no list of answers");
      yield answers as LetterAnswer[];
      pending = pending.subarray(LENGTH_BYTES + length);
    }
  }
  if (pending.length > 0) throw new Error("the last frame is cut off");
}
