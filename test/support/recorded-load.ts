/**
 * Many clients at the gateways of a real cluster, and the history of what they asked for and were told, for the checks of
 * linearizability. Files come in groups that nothing connects, so that each group can be judged alone; a group that has
 * been used enough is replaced by a new one.
 */
import { type FileOp, told } from "../linearizability/file-model.ts";
import type { Call } from "../linearizability/history.ts";
import { pick } from "./random.ts";

export interface RecordedCall extends Call<FileOp> {
  /** The log knows it by this key, if it has one. */
  key: string | null;
  /** It was refused in words that promise that nothing happened. */
  withoutEffect: boolean;
}

export interface LoadOptions {
  gateways: readonly { id: string; url: string }[];
  /** Clients that share their groups; each pool takes the next gateway for each next client. */
  pools?: number;
  clientsPerPool?: number;
  /** Of each pool's clients so many only read: no write that hangs keeps them from it. */
  readersPerPool?: number;
  operationsPerGroup?: number;
  /** Which groups carry the client's own keys; the log knows only those calls. Default: every other pair. */
  keyed?: "half" | "all";
  /** Mean pause of a client between two operations, ms. */
  pauseMs?: number;
  /** A gateway that is stopping, or takes no connection, is passed over: its clients ask the next one. */
  goElsewhere?: boolean;
  /** So many bytes more than its name has each content that is put. */
  paddingBytes?: () => number;
  random: () => number;
}

interface Group {
  name: string;
  /** Versions are replaced, moved and deleted under conditions; names are moved, copied and listed. */
  about: "versions" | "names";
  /** With the client's own keys, every change can be found in the log. */
  keyed: boolean;
  used: number;
  /** Content → ETag, as far as anybody was told. */
  etags: Map<string, string>;
}

interface Asked {
  method: string;
  /** Behind the gateway's address. */
  url: string;
  headers: Headers;
  body?: string;
}

interface Answer {
  response: Response;
  text: string;
}

const FILES = ["a", "b", "c"];
const GROUPS_IN_USE = 2;
const PAUSE_MS = 8;
/** After this a client counts its request as lost. */
const PATIENCE_MS = 30_000;
const noPadding = (): number => 0;
const NOTHING_HAPPENED = new Set(["NO_LEADER", "NOT_READY", "OVERLOADED", "NOT_ENOUGH_WORKERS", "TOO_FEW_REPLICAS"]);
const MAY_HAVE_HAPPENED = new Set(["OUTCOME_UNKNOWN", "TIMEOUT", "DATA_UNAVAILABLE"]);

export class RecordedLoad {
  readonly history: RecordedCall[] = [];
  /** Answers that no client should get. */
  readonly surprises: string[] = [];
  /** Answers that tell a client to try again, or to look, by code; NO_ANSWER: the connection ended without one. */
  readonly refusals: { code: string; words: string; call: RecordedCall }[] = [];
  readonly #options: Required<LoadOptions>;
  readonly #groups: Group[] = [];
  readonly #running: Promise<void>[] = [];
  readonly #run = crypto.randomUUID().slice(0, 8);
  /** When each client was last told what became of a change. */
  readonly #changesToldAt = new Map<string, number[]>();
  #moment = 0;
  #calls = 0;
  #isStopping = false;

  constructor({
    pools = 2,
    clientsPerPool = 6,
    readersPerPool = 0,
    keyed = "half",
    operationsPerGroup = 200,
    pauseMs = PAUSE_MS,
    goElsewhere = false,
    paddingBytes = noPadding,
    ...options
  }: LoadOptions) {
    this.#options = {
      pools,
      clientsPerPool,
      readersPerPool,
      keyed,
      operationsPerGroup,
      pauseMs,
      goElsewhere,
      paddingBytes,
      ...options,
    };
  }

  start(): this {
    const { pools, clientsPerPool, readersPerPool, gateways } = this.#options;
    for (let pool = 0; pool < pools; pool++) {
      const inUse = Array.from({ length: GROUPS_IN_USE }, () => this.#newGroup());
      for (let n = 0; n < clientsPerPool; n++) {
        const { id, url } = gateways[n % gateways.length] as { id: string; url: string };
        const client = `client-${pool}.${n} (${id})`;
        const isReader = n < readersPerPool;
        if (!isReader) this.#changesToldAt.set(client, []);
        this.#running.push(this.#work(client, url, inUse, isReader));
      }
    }
    return this;
  }

  #newGroup(): Group {
    const n = this.#groups.length;
    const group: Group = {
      name: `g${n}`,
      about: n % 2 ? "names" : "versions",
      keyed: this.#options.keyed === "all" || n % 4 < 2,
      used: 0,
      etags: new Map(),
    };
    this.#groups.push(group);
    return group;
  }

  async #work(client: string, gateway: string, inUse: Group[], isReader: boolean): Promise<void> {
    const { random, operationsPerGroup, pauseMs } = this.#options;
    while (!this.#isStopping) {
      const n = Math.floor(random() * inUse.length);
      const group = inUse[n] as Group;
      if (++group.used >= operationsPerGroup) inUse[n] = this.#newGroup();
      await this.do(client, gateway, group, isReader ? this.#drawRead(group) : this.#draw(group));
      await Bun.sleep(random() * 2 * pauseMs);
    }
  }

  #drawRead({ name }: Group): FileOp {
    const { random } = this.#options;
    return random() < 0.7
      ? { kind: "get", path: `${name}/${pick(random, FILES)}` }
      : { kind: "list", prefix: `${name}/` };
  }

  #draw(group: Group): FileOp {
    const { random } = this.#options;
    const path = `${group.name}/${pick(random, FILES)}`;
    const put = (): FileOp => ({ kind: "put", path, content: "" });
    const files = FILES.filter((name) => !path.endsWith(name));
    const to = `${group.name}/${pick(random, files)}`;
    const overwrite = random() < 0.5;
    const chance = random();
    if (chance < 0.3) return { kind: "get", path };
    if (chance < 0.45) return put();
    if (group.about === "names") {
      if (chance < 0.65) return { kind: "rename", path, to, overwrite };
      if (chance < 0.7) return { kind: "copy", path, to, overwrite };
      if (chance < 0.8) return { kind: "delete", path };
      return { kind: "list", prefix: `${group.name}/` };
    }
    const known = [...group.etags.keys()].slice(-4);
    const ifMatch = known.length > 0 ? { ifMatch: pick(random, known) } : {};
    if (chance < 0.6) return { ...put(), ...ifMatch } as FileOp;
    if (chance < 0.75) return { ...put(), ifAbsent: true } as FileOp;
    if (chance < 0.85) return { kind: "rename", path, to, overwrite, ...ifMatch };
    return { kind: "delete", path, ...(overwrite ? ifMatch : {}) };
  }

  /** Does one operation and writes down what became of it. A put gets content of its own. */
  async do(client: string, gateway: string, group: Group, drawn: FileOp): Promise<void> {
    const n = this.#calls++;
    const body = `${this.#run} ${n}`.padEnd(drawn.kind === "put" ? this.#options.paddingBytes() : 0, ".");
    const op: FileOp = drawn.kind === "put" ? { ...drawn, content: contentOf(body) } : drawn;
    const isChange = op.kind !== "get" && op.kind !== "list";
    const key = group.keyed && isChange ? `${this.#run}-${n}` : null;
    const call = this.#moment++;
    const recorded: RecordedCall = {
      client,
      op,
      call,
      return: null,
      outcome: null,
      index: null,
      key,
      withoutEffect: false,
    };
    this.history.push(recorded);
    const request = requestOf(op, body, group.etags, n);
    if (key !== null) request.headers.set("idempotency-key", key);
    const answer = await this.#ask(gateway, request);
    const moment = this.#moment++;
    if (answer === null) {
      this.refusals.push({ code: "NO_ANSWER", words: "", call: recorded });
      return;
    }
    const { response, text } = answer;
    learnEtags(group.etags, response, text, op);
    recorded.outcome = outcomeOf(op, response, text);
    if (recorded.outcome !== null) {
      recorded.return = moment;
      if (isChange) this.#changesToldAt.get(client)?.push(performance.now());
      return;
    }
    const code = codeOf(response, text);
    recorded.withoutEffect = NOTHING_HAPPENED.has(code);
    this.refusals.push({ code, words: text.slice(0, 300), call: recorded });
    if (!recorded.withoutEffect && !MAY_HAVE_HAPPENED.has(code))
      this.surprises.push(`${op.kind} of ${client}: ${response.status} ${text.slice(0, 300)}`);
  }

  /** @returns null if no answer came */
  async #ask(gateway: string, { url, ...init }: Asked): Promise<Answer | null> {
    const { gateways, goElsewhere } = this.#options;
    const others = goElsewhere ? gateways.map((one) => one.url).filter((one) => one !== gateway) : [];
    const signal = AbortSignal.timeout(PATIENCE_MS);
    let answer: Answer | null = null;
    for (const at of [gateway, ...others])
      try {
        const response = await fetch(`${at}${url}`, { ...init, signal });
        answer = { response, text: await response.text() };
        if (!isOfStopping(answer)) return answer;
      } catch (error) {
        if (!isRefusedConnection(error)) return null;
      }
    return answer;
  }

  #changesTold(via: string): number[][] {
    return [...this.#changesToldAt].filter(([client]) => client.includes(via)).map(([, times]) => times);
  }

  /** Since `moment`, has every client been told what became of a change? @param via only those of one gateway */
  areAllBack(moment: number, via = ""): boolean {
    return this.#changesTold(via).every((times) => (times.at(-1) ?? 0) > moment);
  }

  /** The longest that any client was without word of a change around a moment. ms @param via only those of one gateway */
  longestGap(moment: number, via = ""): number {
    const gaps = this.#changesTold(via).map((times) => {
      const after = times.find((time) => time > moment) ?? Number.POSITIVE_INFINITY;
      return after - (times.findLast((time) => time <= moment) ?? moment);
    });
    return Math.max(...gaps);
  }

  get changesTold(): number {
    return [...this.#changesToldAt.values()].reduce((sum, { length }) => sum + length, 0);
  }

  /** Ends the load, and looks at every group once more, so that what was lost at last is seen. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await Promise.all(this.#running);
    const [gateway] = this.#options.gateways.map(({ url }) => url) as [string];
    for (const group of this.#groups)
      await this.do("auditor", gateway, group, { kind: "list", prefix: `${group.name}/` });
  }
}

const isRefusedConnection = (error: unknown): boolean =>
  ["ECONNREFUSED", "ConnectionRefused"].includes((error as { code?: string }).code ?? "");

/** The gateway stops, and has done nothing. An answer to HEAD says no more than its status. */
const isOfStopping = ({ response, text }: Answer): boolean =>
  response.status === 503 && (text === "" || codeOf(response, text) === "NOT_READY");

/** Of a refusal. An answer to HEAD has none: its status must do. */
function codeOf({ status, headers }: Response, text: string): string {
  if (text === "") return status === 503 ? "NO_LEADER" : status === 504 ? "TIMEOUT" : "none";
  return headers.get("content-type")?.includes("json") ? (JSON.parse(text) as { code: string }).code : "none";
}

/** A content is known by its checksum: that is what reads and listings tell. */
const contentOf = (body: string): string => Bun.hash.crc32(body).toString(16).padStart(8, "0");

function requestOf(op: FileOp, body: string, etags: ReadonlyMap<string, string>, n: number): Asked {
  const headers = new Headers();
  if (op.kind === "list") return { method: "GET", url: `/files?prefix=${encodeURIComponent(op.prefix)}`, headers };
  const url = `/files/${op.path}`;
  if ("ifMatch" in op && op.ifMatch !== undefined) headers.set("if-match", etags.get(op.ifMatch) as string);
  switch (op.kind) {
    case "get":
      return { method: n % 2 ? "GET" : "HEAD", url, headers };
    case "delete":
      return { method: "DELETE", url, headers };
    case "put":
      if (op.ifAbsent) headers.set("if-none-match", "*");
      return { method: "PUT", url, headers, body };
    default:
      headers.set("content-type", "application/json");
      return { method: "POST", url, headers, body: JSON.stringify({ [op.kind]: op.to, overwrite: op.overwrite }) };
  }
}

function learnEtags(etags: Map<string, string>, response: Response, text: string, op: FileOp): void {
  const [etag, content] = [response.headers.get("etag"), response.headers.get("x-crc32")];
  if (!response.ok || etag === null || content === null) return;
  etags.set(content, etag);
  if (op.kind === "get" && text !== "" && contentOf(text) !== content)
    throw new Error(
      `${op.path}: ${text.length} bytes beginning with "${text.slice(0, 40)}" have ${etag} and ${content}`,
    );
}

/** @returns null if the answer does not tell what became of it */
function outcomeOf(op: FileOp, response: Response, text: string): string | null {
  switch (response.status) {
    case 200:
      if (op.kind === "get") return told.content(response.headers.get("x-crc32") as string);
      return op.kind === "list" ? listingOf(text) : told.replaced;
    case 201:
      return told.created;
    case 204:
      return told.deleted;
    case 404:
      return told.absent;
    case 412:
      return told.refused;
    case 409:
      return text.includes("ALREADY_EXISTS") ? told.exists : null;
    default:
      return null;
  }
}

function listingOf(text: string): string {
  const { entries, cursor } = JSON.parse(text) as {
    entries: { path: string; kind: string; crc32: string }[];
    cursor: string | null;
  };
  if (cursor !== null) throw new Error("a group is listed on one page");
  return told.listing(entries.filter(({ kind }) => kind === "file").map(({ path, crc32 }) => [path, crc32] as const));
}
