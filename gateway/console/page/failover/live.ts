/** The live cluster: what held a while ago, then the stream from there on, taken up again after every break. */
import { batch, computed, effect, signal } from "@preact/signals";
import type { About, Drill, MachineList, NodeStatus, RecordPage, Report, StateAt, StreamEvents } from "../../api.ts";
import { msOf } from "../../order.ts";
import { ask, askJson, noteAnswer, noteSilence, pageClock } from "../ask.ts";
import { type StreamPhase, streamInWords } from "../silence-words.ts";
import { EventParser, type ServerEvent } from "./event-parser.ts";
import {
  about,
  addRecords,
  drills,
  isClockRunning,
  machines,
  nodes,
  reports,
  setClock,
  source,
  startAnew,
  trace,
} from "./playback.ts";
import { followLink } from "./share.ts";

/** How much of the past a page loads when it opens. */
const LOOK_BACK_MS = 10 * 60_000;
const MOST_PAGES = 12;
const RETRY_MS = [500, 1000, 2000, 4000];
/** The stream says something every 2 s; after this long without a word the connection is dead. */
const DEAD_AFTER_MS = 15_000;

export const streamPhase = signal<StreamPhase>("connecting");
/** Page clock when the stream last said something. */
const streamHeardAt = signal<number | null>(null);
export const streamNow = computed(() =>
  streamInWords(streamPhase.value, { now: pageClock.value, heardAt: streamHeardAt.value }),
);
/** A clock that ran on while nothing comes would show a present that is not known. */
effect(() => {
  isClockRunning.value = streamNow.value.isLive;
});

let attempt: AbortController | null = null;

/** The person opened a recording, or followed anew: what this attempt still gets is discarded. */
class Abandoned extends Error {}

async function begin({ signal }: AbortController): Promise<string> {
  const goOn = (): void => {
    if (signal.aborted) throw new Abandoned();
  };
  const [known, charts] = await Promise.all([
    askJson<About>("/console/api/about"),
    askJson<MachineList>("/console/api/machines"),
  ]);
  goOn();
  about.value = known;
  setClock(known.now);
  const [past, before] = await Promise.all([
    askJson<StateAt>(`/console/api/state?at=${Math.round(known.now - LOOK_BACK_MS)}`),
    askJson<Report[]>("/console/api/reports"),
  ]);
  goOn();
  streamPhase.value = "loading";
  startAnew();
  machines.value = charts;
  trace().begin(past.actors);
  reports.value = before;
  await readPast(known.now - LOOK_BACK_MS, known.now + 60_000, goOn);
  return past.cursor;
}

/** What the stream has already brought may come again; the trace leaves it out. */
async function readPast(from: number, to: number, goOn: () => void): Promise<void> {
  for (let pages = 0; pages < MOST_PAGES; pages++) {
    const query = new URLSearchParams({ from: String(Math.floor(from)), to: String(Math.ceil(to)), limit: "5000" });
    const page = await askJson<RecordPage>(`/console/api/records?${query}`);
    goOn();
    addRecords(page.records);
    const last = page.records.at(-1);
    if (!page.more || last === undefined || msOf(last.h) <= from) return;
    from = msOf(last.h);
  }
}

/** Reads the stream until it breaks. */
async function read(cursor: string, onCursor: (cursor: string) => void, signal: AbortSignal): Promise<void> {
  const watch = new AbortController();
  let timer = setTimeout(() => watch.abort(), DEAD_AFTER_MS);
  const response = await ask(`/console/api/stream?after=${encodeURIComponent(cursor)}`, {
    headers: { accept: "text/event-stream" },
    signal: AbortSignal.any([signal, watch.signal]),
  });
  const parser = new EventParser();
  const decoder = new TextDecoder();
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    clearTimeout(timer);
    timer = setTimeout(() => watch.abort(), DEAD_AFTER_MS);
    noteAnswer();
    streamHeardAt.value = performance.now();
    for (const event of parser.push(decoder.decode(value, { stream: true }))) {
      take(event);
      if (event.id !== null) onCursor(event.id);
    }
  }
}

class StreamLost extends Error {}

function take({ event, data }: ServerEvent): void {
  const json: unknown = JSON.parse(data);
  if (event === "records") addRecords((json as StreamEvents["records"]).records);
  else if (event === "nodes") nodes.value = json as NodeStatus[];
  else if (event === "report") reports.value = placed(reports.peek(), json as Report).sort((a, b) => b.from - a.from);
  else if (event === "drill") drills.value = placed(drills.peek(), json as Drill).sort((a, b) => b.from - a.from);
  else if (event === "hello") {
    const hello = json as StreamEvents["hello"];
    if (!hello.resumed) throw new StreamLost();
    setClock(hello.now);
    streamPhase.value = "open";
    if (!isLinkFollowed) {
      isLinkFollowed = true;
      setTimeout(() => source.peek().kind === "live" && followLink(), 300);
    }
  }
}

let isLinkFollowed = false;

const placed = <T extends { id: string }>(list: T[], one: T): T[] => [one, ...list.filter(({ id }) => id !== one.id)];

/** Follows the cluster until `stopFollowing`; what is held stays over a break, and goes on where it stopped. */
export async function followLive(): Promise<void> {
  stopFollowing();
  const mine = new AbortController();
  attempt = mine;
  if (source.peek().kind === "recording") leaveRecording();
  let cursor: string | null = null;
  let tries = 0;
  while (!mine.signal.aborted) {
    try {
      if (cursor === null) {
        if (streamPhase.peek() !== "broken") streamPhase.value = "connecting";
        cursor = await begin(mine);
      }
      await read(
        cursor,
        (next) => {
          cursor = next;
          tries = 0;
        },
        mine.signal,
      );
      throw new Error("the stream ended");
    } catch (error) {
      if (mine.signal.aborted) return;
      if (error instanceof StreamLost) cursor = null;
      else {
        streamPhase.value = "broken";
        if (error instanceof TypeError) noteSilence("The gateway does not answer");
        const wait = RETRY_MS[Math.min(tries++, RETRY_MS.length - 1)];
        await new Promise((resolve) => setTimeout(resolve, wait));
      }
    }
  }
}

/** Removes all that the recording showed at once, so that none of it passes for the present cluster. */
function leaveRecording(): void {
  batch(() => {
    source.value = { kind: "live" };
    startAnew();
    nodes.value = [];
    drills.value = [];
  });
}

export function stopFollowing(): void {
  attempt?.abort();
  attempt = null;
  streamPhase.value = "connecting";
  streamHeardAt.value = null;
}
