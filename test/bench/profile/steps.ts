/** The rooms of the program as a cost has them: which files make up one step of an operation. */

export interface Step {
  id: string;
  /** A row's name in the tables of costs. */
  name: string;
  /** Files from the root; the first step that matches has the file. */
  files: RegExp;
}

export const STEPS: Step[] = [
  { id: "door", name: "door: HTTP to a request and back", files: /^gateway\/(http|rest|s3|access|[a-z]+\.ts$)/ },
  { id: "transfer", name: "transfer: blocks, sums, the upload", files: /^gateway\/transfer\// },
  { id: "asking", name: "asking: grants, commands, questions", files: /^gateway\/(nodes|ports)\// },
  { id: "following", name: "following: what the console shows", files: /^gateway\/console\// },
  { id: "messages", name: "messages: packing, signing, sending", files: /^actors\/node\/(messaging|identity|http)\// },
  {
    id: "recording",
    name: "recording and tracing",
    files: /^(actors\/node\/(record|trace|watchdog)\/|databases\/records\b|actors\/rules\/record-id)/,
  },
  { id: "raft", name: "agreeing: raft and its batches", files: /^actors\/(rules\/raft|master\/group)\// },
  { id: "log", name: "the masters' log, and its flush", files: /^databases\/master-log\b/ },
  { id: "metadata", name: "metadata: rows read and written", files: /^databases\/metadata\// },
  { id: "decide", name: "deciding what a command does", files: /^actors\/rules\// },
  { id: "leading", name: "leading: workers, placement, repair", files: /^actors\/master\// },
  { id: "store", name: "chunk store: files, sums, flushes", files: /^actors\/worker\/(store|blocks)\// },
  { id: "index", name: "the worker's index of chunks", files: /^databases\/chunk-index\b/ },
  { id: "worker", name: "worker: heartbeats, reports, orders", files: /^actors\/worker\// },
  { id: "node", name: "clock, config, log lines, SQLite's door", files: /^(actors|databases|gateway)\// },
];

/** JavaScript that no file of ours called: timers and promises of packages and of Bun. */
export const NOBODYS = "callbacks of packages and of Bun";
/** What a sample never finds on the thread with the JavaScript: sockets, HTTP's bytes, the kernel. */
export const OUTSIDE = "event loop: sockets, kernel";
export const COMPILING = "compiling JavaScript, less as a node warms up";
export const OTHER_THREADS = "other threads: HTTP client, files, garbage";

/** @param file of ours from the root; null if no file of ours was at work */
export const stepOf = (file: string | null): string =>
  (file !== null && STEPS.find(({ files }) => files.test(file))?.name) || NOBODYS;
