/**
 * A recording: the last minutes of a cluster as one file that needs no cluster to be looked at. NDJSON, usually gzipped:
 * a header, a keyframe, then one record a line. Runs in a browser; `recording-reader.ts` reads it.
 */
import type { ActorState, Recording, RecordingHeader, StepRecord } from "./api.ts";
import { compareRecords } from "./order.ts";
import { BadRecording, type RecordingLimits, type RecordingParts, readParts } from "./recording-reader.ts";

interface NoRecording {
  ok: false;
  code: BadRecording["code"];
  message: string;
}
export type ReadRecording = { ok: true; recording: Recording } | NoRecording;

/** A file, gzipped or not, whole or as it comes. */
export type RecordingFile = Uint8Array<ArrayBuffer> | AsyncIterable<Uint8Array<ArrayBuffer>>;

export function formatRecording({ header, keyframe, records }: Recording): string {
  return `${[header, { keyframe }, ...records].map((line) => JSON.stringify(line)).join("\n")}\n`;
}

export async function openRecording(file: RecordingFile, limits?: RecordingLimits): Promise<ReadRecording> {
  const keyframe: ActorState[] = [];
  const records: StepRecord[] = [];
  const parts: RecordingParts = {
    actor: (state) => void keyframe.push(state),
    record: (record) => void records.push(record),
  };
  const read = await checkRecording(file, parts, limits);
  return read.ok
    ? { ok: true, recording: { header: read.header, keyframe, records: records.sort(compareRecords) } }
    : read;
}

/** Reads it to its end and keeps nothing but the header. @throws whatever breaks the file off on its way here */
export async function checkRecording(
  file: RecordingFile,
  parts: RecordingParts = {},
  limits?: RecordingLimits,
): Promise<{ ok: true; header: RecordingHeader } | NoRecording> {
  try {
    return { ok: true, header: await readParts(file instanceof Uint8Array ? once(file) : file, parts, limits) };
  } catch (error) {
    if (error instanceof BadRecording) return { ok: false, code: error.code, message: error.message };
    throw error;
  }
}

async function* once<T>(value: T): AsyncGenerator<T, void> {
  yield value;
}
