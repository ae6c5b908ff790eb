/** A recording as a file: opened in the page without any cluster, or saved from the live one. */
import { batch } from "@preact/signals";
import type { Recording } from "../../api.ts";
import { openRecording as readRecording } from "../../recording.ts";
import { streamed } from "../../recording-reader.ts";
import { reportsOf } from "../../reports.ts";
import { announce } from "../announce.ts";
import { ask, sentenceOf } from "../ask.ts";
import { route } from "../route.ts";
import { takeBackQuestion } from "../shell/dialog.tsx";
import { stopFollowing } from "./live.ts";
import {
  addRecords,
  cursor,
  drills,
  frameSpan,
  liveEdge,
  machines,
  nodes,
  reports,
  seek,
  source,
  startAnew,
  trace,
  version,
} from "./playback.ts";
import { followLink } from "./share.ts";

/** Everything on the page shows the recording from now on, from its newest failover if it has one. */
function showRecording({ header, keyframe, records }: Recording, name: string): void {
  stopFollowing();
  takeBackQuestion();
  batch(() => {
    const { cluster, software, exportedAt, seed = null } = header;
    source.value = { kind: "recording", name, cluster, software, seed, exportedAt };
    startAnew();
    machines.value = header.machines;
    nodes.value = header.nodes;
    drills.value = [];
    trace().begin(keyframe);
    addRecords(records);
    reports.value = reportsOf(records, header.timings);
    liveEdge.value = trace().last;
    version.value++;
    frameSpan(trace().first, trace().last);
    cursor.value = trace().last;
  });
  const [newest] = reports.value;
  if (!newest) return;
  const from = trace().positionAt(newest.from);
  frameSpan(from, newest.to === null ? trace().last : trace().positionAt(newest.to));
  seek(from);
}

let opening = 0;

/** Of files opened one soon after the other, the last is shown. */
export async function openRecording(file: File): Promise<void> {
  const mine = ++opening;
  const read = await readRecording(streamed(file.stream()));
  if (mine !== opening) return;
  if (!read.ok) {
    announce(`${file.name} cannot be opened. ${read.message}.`, "problem");
    return;
  }
  showRecording(read.recording, file.name);
  announce(`${file.name} is shown: ${trace().records.length.toLocaleString("en")} events.`);
}

/** The recording that a replay serves, unless a person opened another one meanwhile. */
export async function showServedRecording(name: string): Promise<void> {
  if (route.peek().view !== "failover") location.hash = "#/failover";
  try {
    const response = await ask("/console/api/recording", { signal: AbortSignal.timeout(120_000) });
    const read = await readRecording(streamed(response.body as ReadableStream<Uint8Array<ArrayBuffer>>));
    if (!read.ok) throw new Error(read.message);
    if (opening > 0) return;
    showRecording(read.recording, name);
    followLink();
  } catch (error) {
    announce(sentenceOf(error), "problem");
  }
}

export async function saveRecording(minutes: number): Promise<void> {
  try {
    const response = await ask(`/console/api/recording?minutes=${minutes}`, { signal: AbortSignal.timeout(120_000) });
    const named = /filename="([^"]+)"/.exec(response.headers.get("content-disposition") ?? "")?.[1];
    const link = document.createElement("a");
    link.href = URL.createObjectURL(await response.blob());
    link.download = named ?? `recording-${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}.dfsrec.gz`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
    announce(`${link.download} is saved.`);
  } catch (error) {
    announce(sentenceOf(error), "problem");
  }
}
