/**
 * A recording: the last minutes of a cluster as one file that needs no cluster to be looked at. NDJSON, usually gzipped:
 * a header, a keyframe, then one record a line. Pure but for `DecompressionStream`; runs in a browser.
 */
import type { ActorState, Recording, RecordingHeader, StepRecord } from "./api.ts";
import { compareRecords } from "./order.ts";
import { RECORDING_FORMAT, RECORDING_VERSION } from "./recording-format.ts";

export type ReadRecording =
  | { ok: true; recording: Recording }
  | { ok: false; code: "BAD_RECORDING" | "UNKNOWN_RECORDING_VERSION"; message: string };

const bad = (message: string): ReadRecording => ({ ok: false, code: "BAD_RECORDING", message });

export function formatRecording({ header, keyframe, records }: Recording): string {
  return `${[header, { keyframe }, ...records].map((line) => JSON.stringify(line)).join("\n")}\n`;
}

/** Takes the file as it is, gzipped or not. */
export async function openRecording(bytes: Uint8Array<ArrayBuffer>): Promise<ReadRecording> {
  if (bytes.length === 0) return bad("The file is empty");
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return parseRecording(new TextDecoder().decode(bytes));
  try {
    const unpacked = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return parseRecording(await new Response(unpacked).text());
  } catch {
    return bad("The file is cut off or damaged: it cannot be unpacked");
  }
}

export function parseRecording(text: string): ReadRecording {
  const lines = text.split("\n");
  const ended = lines.at(-1) === "";
  if (ended) lines.pop();
  const header = parse(lines[0]) as Partial<RecordingHeader> | undefined;
  if (header?.format !== RECORDING_FORMAT) return bad("The file is no recording of this program");
  if (header.version !== RECORDING_VERSION)
    return {
      ok: false,
      code: "UNKNOWN_RECORDING_VERSION",
      message: `The recording has version ${JSON.stringify(header.version)}; this program reads version ${RECORDING_VERSION}`,
    };
  if (!Array.isArray(header.nodes) || !Array.isArray(header.machines)) return bad("Line 1 lacks nodes or machines");
  const { keyframe } = (parse(lines[1]) ?? {}) as { keyframe?: ActorState[] };
  if (!Array.isArray(keyframe)) return bad("Line 2 is no keyframe");
  const records: StepRecord[] = [];
  for (let n = 2; n < lines.length; n++) {
    const record = parse(lines[n]) as StepRecord | undefined;
    if (!record || !isRecord(record)) return bad(`Line ${n + 1} is no record${ended ? "" : "; the file is cut off"}`);
    records.push(record);
  }
  return {
    ok: true,
    recording: { header: header as RecordingHeader, keyframe, records: records.sort(compareRecords) },
  };
}

function parse(line: string | undefined): unknown {
  try {
    return JSON.parse(line ?? "") ?? undefined;
  } catch {
    return undefined;
  }
}

const isRecord = (value: StepRecord): boolean =>
  typeof value === "object" &&
  typeof value.n === "string" &&
  Number.isInteger(value.b) &&
  Number.isInteger(value.q) &&
  /^[0-9a-f]{16}$/.test(value.h) &&
  typeof value.t === "number" &&
  typeof value.m === "string" &&
  typeof value.a === "string" &&
  typeof value.e === "string" &&
  typeof value.v === "string";
