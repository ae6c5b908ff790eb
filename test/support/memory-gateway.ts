/** A gateway's REST interface over a Map: what the client and the command line are tried on, with faults on order. */
import { type ErrorCode, Refusal } from "../../actors/messages/errors.ts";
import { formatCrc32 } from "../../actors/rules/crc32.ts";
import { problemResponse } from "../../gateway/http/problem.ts";

interface Kept {
  bytes: Uint8Array<ArrayBuffer>;
  etag: string;
  contentType: string;
  modified: string;
  meta: Record<string, string>;
}

/** Each fault happens once, on the next request that it fits. */
export interface Faults {
  /** Cut the connection of a GET after so many bytes; `cutWhen` holds the cut back until it resolves. */
  cutGetAfter?: number;
  cutWhen?: Promise<void>;
  /** Keep so many bytes of a PATCH, then cut the connection. */
  cutPatchAfter?: number;
  /** Flip a bit of the first byte of a GET. */
  damageGet?: boolean;
  /** Flip a bit of what a PUT stores. */
  damagePut?: boolean;
  /** Refuse with these codes, one request each. */
  refuse?: ErrorCode[];
}

export function startMemoryGateway(port: number) {
  const files = new Map<string, Kept>();
  const directories = new Set<string>();
  const uploads = new Map<string, { path: string; bytes: Uint8Array<ArrayBuffer>; contentType?: string }>();
  const answered = new Map<string, Response>();
  const requests: string[] = [];
  const faults: Faults = {};
  let versions = 0;

  const problem = (code: ErrorCode, detail: string, details: Record<string, unknown> = {}): Response =>
    problemResponse(new Refusal(code, detail, details), "memory");
  const isDirectory = (path: string) =>
    directories.has(path) || [...files.keys()].some((k) => k.startsWith(`${path}/`));
  const describe = (path: string, kept: Kept) => ({
    path,
    size: kept.bytes.length,
    etag: kept.etag,
    crc32: formatCrc32(Bun.hash.crc32(kept.bytes)),
    chunks: 1,
    sha256: null,
    contentType: kept.contentType,
    replication: 3,
    created: kept.modified,
    modified: kept.modified,
    meta: kept.meta,
  });
  const keep = (path: string, bytes: Uint8Array<ArrayBuffer>, headers: Headers): Response => {
    const created = !files.has(path);
    const meta = [...headers].flatMap(([name, value]) => (name.startsWith("x-meta-") ? [[name.slice(7), value]] : []));
    const kept = {
      bytes,
      etag: `"v${++versions}"`,
      contentType: headers.get("content-type") ?? "application/octet-stream",
      modified: new Date(1_790_000_000_000).toISOString(),
      meta: Object.fromEntries(meta),
    };
    files.set(path, kept);
    return Response.json(describe(path, kept), { status: created ? 201 : 200 });
  };

  async function put(path: string, request: Request): Promise<Response> {
    if (isDirectory(path)) return problem("IS_A_DIRECTORY", `${path} is a directory`);
    if (request.headers.get("if-none-match") === "*" && files.has(path))
      return problem("PRECONDITION_FAILED", `${path} exists`);
    const bytes = new Uint8Array(await request.arrayBuffer());
    const crc32 = request.headers.get("x-crc32");
    if (faults.damagePut) {
      faults.damagePut = false;
      bytes[0] = (bytes[0] ?? 0) ^ 1;
    }
    if (crc32 !== null && crc32 !== formatCrc32(Bun.hash.crc32(bytes)))
      return problem("DIGEST_MISMATCH", "the bytes that arrived are others");
    return keep(path, bytes, request.headers);
  }

  function get(path: string, request: Request): Response {
    const kept = files.get(path);
    if (!kept)
      return isDirectory(path)
        ? problem("IS_A_DIRECTORY", `${path} is a directory`)
        : problem("NO_SUCH_FILE", `There is no ${path}`);
    const ifMatch = request.headers.get("if-match");
    if (ifMatch !== null && ifMatch !== kept.etag) return problem("PRECONDITION_FAILED", `${path} has another etag`);
    const headers = new Headers({
      etag: kept.etag,
      "x-crc32": formatCrc32(Bun.hash.crc32(kept.bytes)),
      "content-type": kept.contentType,
      "last-modified": new Date(kept.modified).toUTCString(),
      "accept-ranges": "bytes",
    });
    for (const [name, value] of Object.entries(kept.meta)) headers.set(`x-meta-${name}`, value);
    const range = /^bytes=(\d*)-(\d*)$/.exec(request.headers.get("range") ?? "");
    const total = kept.bytes.length;
    let start = 0;
    let end = total;
    if (range) {
      start = range[1] === "" ? Math.max(0, total - Number(range[2])) : Number(range[1]);
      end = range[1] === "" || range[2] === "" ? total : Math.min(total, Number(range[2]) + 1);
      if (start >= total) return problem("RANGE_NOT_SATISFIABLE", `${path} has ${total} bytes`);
      headers.set("content-range", `bytes ${start}-${end - 1}/${total}`);
    }
    let bytes = kept.bytes.slice(start, end);
    if (request.method === "HEAD") {
      headers.set("content-length", String(total));
      return new Response(null, { headers });
    }
    if (faults.damageGet) {
      faults.damageGet = false;
      bytes[0] = (bytes[0] ?? 0) ^ 1;
    }
    const cut = faults.cutGetAfter;
    const cutWhen = faults.cutWhen ?? Bun.sleep(20);
    faults.cutGetAfter = undefined;
    faults.cutWhen = undefined;
    if (cut === undefined) return new Response(bytes, { status: range ? 206 : 200, headers });
    bytes = bytes.slice(0, cut);
    return new Response(
      new ReadableStream({
        async start(controller) {
          controller.enqueue(bytes);
          await cutWhen;
          controller.error(new Error("cut on order"));
        },
      }),
      { status: range ? 206 : 200, headers },
    );
  }

  function list(query: URLSearchParams): Response {
    const prefix = query.get("prefix") ?? "";
    const limit = Number(query.get("limit") ?? 1000);
    const after = query.get("cursor") ?? "";
    const names = new Map<string, Record<string, unknown>>();
    for (const [path, kept] of files) names.set(path, { kind: "file", ...describe(path, kept) });
    for (const path of directories) names.set(`${path}/`, { kind: "directory", path: `${path}/` });
    if (query.get("delimiter"))
      for (const path of [...names.keys()]) {
        const slash = path.indexOf("/", prefix.length);
        if (!path.startsWith(prefix) || slash < 0 || slash === path.length - 1) continue;
        names.delete(path);
        const directory = path.slice(0, slash + 1);
        names.set(directory, { kind: "directory", path: directory });
      }
    const sorted = [...names.keys()].filter((path) => path.startsWith(prefix) && path > after).sort();
    const page = sorted.slice(0, limit);
    return Response.json({
      entries: page.map((path) => names.get(path)),
      cursor: sorted.length > limit ? page.at(-1) : null,
      index: versions,
    });
  }

  async function change(path: string, request: Request): Promise<Response> {
    const body = (await request.json()) as { rename?: string; copy?: string; mkdir?: boolean; overwrite?: boolean };
    if (body.mkdir) {
      if (files.has(path)) return problem("NOT_A_DIRECTORY", `${path} is a file`);
      directories.add(path);
      return Response.json({ created: true }, { status: 201 });
    }
    const to = body.rename ?? body.copy ?? "";
    const moved = [...files].filter(([name]) => name === path || name.startsWith(`${path}/`));
    if (moved.length === 0) return problem("NO_SUCH_FILE", `There is no ${path}`);
    if ((files.has(to) && !body.overwrite) || isDirectory(to)) return problem("ALREADY_EXISTS", `${to} exists`);
    for (const [name, kept] of moved) {
      if (body.rename) files.delete(name);
      files.set(to + name.slice(path.length), kept);
    }
    return Response.json({ path: to });
  }

  function remove(path: string, recursive: boolean): Response {
    if (files.delete(path)) return new Response(null, { status: 204 });
    if (!isDirectory(path)) return problem("NO_SUCH_FILE", `There is no ${path}`);
    if (!recursive) return problem("IS_A_DIRECTORY", `${path} is a directory`);
    for (const name of [...files.keys()]) if (name.startsWith(`${path}/`)) files.delete(name);
    for (const name of [...directories]) if (name === path || name.startsWith(`${path}/`)) directories.delete(name);
    return new Response(null, { status: 204 });
  }

  async function upload(id: string, request: Request): Promise<Response> {
    if (id === "") {
      const body = (await request.json()) as { path: string; contentType?: string; overwrite?: boolean };
      if (body.overwrite === false && files.has(body.path)) return problem("ALREADY_EXISTS", `${body.path} exists`);
      const newId = String(uploads.size + 1);
      uploads.set(newId, { path: body.path, bytes: new Uint8Array(), contentType: body.contentType });
      return Response.json({ upload: newId, offset: 0 }, { status: 201, headers: { location: `/uploads/${newId}` } });
    }
    const found = uploads.get(id);
    if (!found) return problem("NO_SUCH_UPLOAD", `There is no upload ${id}`);
    const at = () => ({ "upload-offset": String(found.bytes.length) });
    if (request.method === "HEAD") return new Response(null, { headers: at() });
    if (request.method === "GET")
      return Response.json(
        { upload: id, offset: found.bytes.length, crc32: formatCrc32(Bun.hash.crc32(found.bytes)) },
        { headers: at() },
      );
    if (request.method === "DELETE") {
      uploads.delete(id);
      return new Response(null, { status: 204 });
    }
    if (request.method === "POST") {
      const { size, crc32 } = (await request.json()) as { size: number; crc32: string };
      if (size !== found.bytes.length) return problem("UPLOAD_OFFSET_MISMATCH", "not all is there");
      if (crc32 !== formatCrc32(Bun.hash.crc32(found.bytes))) return problem("DIGEST_MISMATCH", "other bytes");
      uploads.delete(id);
      return keep(found.path, found.bytes, new Headers(found.contentType ? { "content-type": found.contentType } : {}));
    }
    if (Number(request.headers.get("upload-offset")) !== found.bytes.length)
      return problem("UPLOAD_OFFSET_MISMATCH", "another offset", { offset: found.bytes.length });
    let room = faults.cutPatchAfter ?? Number.POSITIVE_INFINITY;
    faults.cutPatchAfter = undefined;
    const received: Uint8Array[] = [found.bytes];
    for await (const bytes of request.body ?? []) {
      received.push(bytes.subarray(0, room));
      room -= bytes.length;
      if (room <= 0) break;
    }
    found.bytes = new Uint8Array(Buffer.concat(received));
    if (room <= 0) return problem("OVERLOADED", "cut on order");
    return new Response(null, { status: 204, headers: at() });
  }

  const cluster = {
    clusterId: "memory",
    leader: "master-1" as string | null,
    term: 1,
    masters: [{ id: "master-1", url: "http://127.0.0.1:1", role: "leader", term: 1, commitIndex: 9, appliedIndex: 9 }],
    steward: "steady",
    workers: ["worker-1", "worker-2", "worker-3"].map((id, n) => ({
      id,
      url: `http://127.0.0.1:${n + 2}`,
      zone: "zone-a",
      state: "live",
      mode: "active",
      condition: "normal",
      capacityBytes: 100 * 2 ** 30,
      freeBytes: 60 * 2 ** 30,
      trashBytes: 0,
      chunks: 12,
      lastHeardMs: 200,
      chunksAtRiskIfStopped: 0,
    })),
    files: { files: 3, directories: 1, bytes: 4096 },
    redundancy: { chunks: 12, full: 12, below: {} as Record<string, number> },
    repairs: [] as Record<string, unknown>[],
    repairQueue: 0,
    garbage: 0,
    reasons: [] as { code: string; message: string; severity: string }[],
  };

  async function route(request: Request): Promise<Response> {
    const url = new URL(request.url);
    const refused = faults.refuse?.shift();
    if (refused) return problem(refused, "refused on order");
    if (url.pathname === "/cluster") return Response.json(cluster);
    const worker = /^\/cluster\/workers\/(.+)$/.exec(url.pathname)?.[1];
    if (worker) {
      const found = cluster.workers.find(({ id }) => id === worker);
      if (!found) return problem("NO_SUCH_WORKER", `There is no ${worker}`);
      found.mode = ((await request.json()) as { mode: string }).mode;
      return Response.json(found);
    }
    if (url.pathname === "/files") return list(url.searchParams);
    if (url.pathname === "/uploads") return upload("", request);
    if (url.pathname.startsWith("/uploads/")) return upload(url.pathname.slice("/uploads/".length), request);
    if (!url.pathname.startsWith("/files/")) return problem("NO_SUCH_ROUTE", url.pathname);
    const path = decodeURIComponent(url.pathname.slice("/files/".length));
    if (request.method === "PUT") return put(path, request);
    if (request.method === "POST") return change(path, request);
    if (request.method === "DELETE") return remove(path, url.searchParams.get("recursive") === "true");
    const kept = files.get(path);
    if (url.searchParams.has("explain")) {
      if (!kept) return problem("NO_SUCH_FILE", `There is no ${path}`);
      const { size, etag, crc32 } = describe(path, kept);
      const replicas = cluster.workers.map(({ id, url, zone }) => ({
        worker: id,
        url,
        zone,
        state: "good",
        workerState: "live",
        verifiedAt: null,
        sealedAt: "2026-01-01T00:00:00.000Z",
        reason: null,
      }));
      const chunk = { id: "0000000000000001", index: 0, offset: 0, length: size, crc32, replicas };
      const decision = { at: "2026-01-01T00:00:00.000Z", rule: "most free space", candidates: [] };
      return Response.json({
        path,
        size,
        etag,
        replication: 3,
        chunks: [{ ...chunk, decision }],
        now: null,
        next: null,
      });
    }
    return get(path, request);
  }

  const server = Bun.serve({
    hostname: "127.0.0.1",
    port,
    error: () => new Response(null, { status: 500 }),
    async fetch(request) {
      requests.push(`${request.method} ${new URL(request.url).pathname}`);
      const key = request.headers.get("idempotency-key");
      const before = key && answered.get(key);
      if (before) return before.clone();
      const response = await route(request);
      if (key && response.ok) answered.set(key, response.clone());
      return response;
    },
  });
  return {
    url: `http://127.0.0.1:${server.port}`,
    files,
    directories,
    uploads,
    requests,
    faults,
    cluster,
    stop: () => server.stop(true),
  };
}

export type MemoryGateway = ReturnType<typeof startMemoryGateway>;
