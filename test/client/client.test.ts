import { afterAll, beforeEach, expect, test } from "bun:test";
import { Refusal } from "../../actors/messages/errors.ts";
import { createClient, DfsError } from "../../gateway/client/client.ts";
import { problemResponse } from "../../gateway/http/problem.ts";
import { codeOf } from "../support/codes.ts";
import { startFaultyGateway } from "../support/faulty-gateway.ts";
import { freePorts } from "../support/free-ports.ts";

const gateway = await startFaultyGateway();
afterAll(() => gateway.stop());
const dfs = createClient({ url: gateway.url, backoffMs: 5 });
beforeEach(() => gateway.clear());

function random(size: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  for (let n = 0; n < size; n += 65536) crypto.getRandomValues(bytes.subarray(n, Math.min(size, n + 65536)));
  return bytes;
}

test("bytes, text, a blob and a stream are stored and read back as they were", async () => {
  const bytes = random(300_000);
  await dfs.put("a/bytes", bytes);
  await dfs.put("a/text", "grüße");
  await dfs.put("a/blob", new Blob([bytes], { type: "image/png" }));
  await dfs.put("a/stream", new Blob([bytes]).stream());
  for (const name of ["bytes", "blob", "stream"]) {
    const { body, length } = await dfs.get(`a/${name}`);
    expect(length).toBe(bytes.length);
    expect(await new Response(body).bytes()).toEqual(bytes);
  }
  expect(await new Response((await dfs.get("a/text")).body).text()).toBe("grüße");
  expect((await dfs.head("a/blob")).contentType).toBe("image/png");
});

test("an empty file is a file", async () => {
  expect((await dfs.put("empty", new Uint8Array())).size).toBe(0);
  expect(await new Response((await dfs.get("empty")).body).bytes()).toEqual(new Uint8Array());
});

test("names with spaces, Unicode, %, ? and # arrive as they are", async () => {
  for (const path of ["a b/c d", "日本/ü", "100%/x?y#z", "a%2Fb"]) {
    await dfs.put(path, path);
    expect(await gateway.paths()).toContain(path);
    expect((await dfs.head(path)).size).toBe(new TextEncoder().encode(path).length);
  }
});

test("an address of something else is told as such, not as a missing file", async () => {
  const other = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: () => new Response("NOT_FOUND", { status: 404 }) });
  const there = createClient({ url: `http://127.0.0.1:${other.port}`, backoffMs: 5 });
  expect(await codeOf(there.cluster())).toBe("UNEXPECTED_ANSWER");
  expect(await codeOf(there.head("f"))).toBe("UNEXPECTED_ANSWER");
  expect(await codeOf(there.list().next())).toBe("UNEXPECTED_ANSWER");
  await other.stop(true);
});

test("what HEAD refuses is told by its code, though it has no document", async () => {
  const refusing = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch: () => problemResponse(new Refusal("NO_LEADER", "No master answered within 2000 ms"), "1"),
  });
  const there = createClient({ url: `http://127.0.0.1:${refusing.port}`, retries: 0 });
  expect(await codeOf(there.head("f"))).toBe("NO_LEADER");
  await refusing.stop(true);
});

test("a path that a URL would bend is refused before anything is sent", async () => {
  for (const path of ["a/../b", "./a", "", "a//b"]) expect(await codeOf(dfs.put(path, "x"))).toBe("INVALID_PATH");
  expect(gateway.requests).toEqual([]);
});

test("user metadata and conditions go along", async () => {
  const file = await dfs.put("m", "1", { meta: { owner: "ada" }, createOnly: true });
  expect((await dfs.head("m")).meta).toEqual({ owner: "ada" });
  expect(await codeOf(dfs.put("m", "2", { createOnly: true }))).toBe("PRECONDITION_FAILED");
  expect((await dfs.head("m")).etag).toBe(file.etag);
});

test("a range is read alone, from the front or from the end", async () => {
  await dfs.put("r", "0123456789");
  const middle = await dfs.get("r", { range: { start: 2, end: 5 } });
  expect([middle.offset, middle.length, await new Response(middle.body).text()]).toEqual([2, 3, "234"]);
  const end = await dfs.get("r", { range: { start: -3 } });
  expect(await new Response(end.body).text()).toBe("789");
});

test("a download goes on where its connection broke, and the bytes are right", async () => {
  const bytes = random(500_000);
  await dfs.put("big", bytes);
  gateway.faults.cutGetAfter = 123_456;
  const seen: number[] = [];
  const { body } = await dfs.get("big", { onProgress: (n) => seen.push(n) });
  expect(await new Response(body).bytes()).toEqual(bytes);
  expect(seen.at(-1)).toBe(bytes.length);
  expect(gateway.requests.filter((line) => line === "GET /files/big").length).toBe(2);
});

test("F2. a download that is cancelled while it waits to connect again asks for nothing more", async () => {
  const patient = createClient({ url: gateway.url, backoffMs: 60_000 });
  await dfs.put("big", random(500_000));
  gateway.faults.cutGetAfter = 1000;
  const { body } = await patient.get("big");
  const reader = body.getReader();
  await reader.read();
  const next = reader.read();
  await Bun.sleep(50);
  await reader.cancel();
  expect((await next).done).toBe(true);
  await Bun.sleep(50);
  expect(gateway.requests.filter((line) => line === "GET /files/big").length).toBe(1);
});

test("F2. a download that waits for bytes can be cancelled, and its reader hears of no error", async () => {
  await dfs.put("big", random(500_000));
  const { promise: never } = Promise.withResolvers<void>();
  Object.assign(gateway.faults, { cutGetAfter: 1000, cutWhen: never });
  const { body } = await dfs.get("big");
  const reader = body.getReader();
  await reader.read();
  const next = reader.read();
  await Bun.sleep(20);
  expect(await reader.cancel()).toBeUndefined();
  expect((await next).done).toBe(true);
});

test("a download whose file is replaced meanwhile ends in FILE_CHANGED, not in a mixture", async () => {
  await dfs.put("big", random(500_000));
  gateway.faults.cutGetAfter = 1000;
  const { body } = await dfs.get("big");
  await dfs.put("big", random(400_000));
  expect(await codeOf(new Response(body).bytes())).toBe("FILE_CHANGED");
});

test("a wrong byte on the way is noticed: the stream errors with CHECKSUM_MISMATCH", async () => {
  await dfs.put("big", random(100_000));
  gateway.faults.damageGet = true;
  expect(await codeOf(new Response((await dfs.get("big")).body).bytes())).toBe("CHECKSUM_MISMATCH");
});

test("a wrong byte on the way up is refused before it is stored, for a stream told after", async () => {
  gateway.faults.damagePut = true;
  expect(await codeOf(dfs.put("up", "hello"))).toBe("DIGEST_MISMATCH");
  expect(await gateway.paths()).toEqual([]);
  gateway.faults.damagePut = true;
  expect(await codeOf(dfs.put("up", new Blob(["hello"]).stream()))).toBe("CHECKSUM_MISMATCH");
});

test("what passes by itself is tried again, under one idempotency key; what does not is told at once", async () => {
  gateway.faults.refuse = ["NO_LEADER", "OVERLOADED"];
  await dfs.put("again", "x");
  expect(gateway.requests.length).toBe(3);
  gateway.requests.length = 0;
  gateway.faults.refuse = ["NOT_ENOUGH_WORKERS"];
  expect(await codeOf(dfs.put("again", "x"))).toBe("NOT_ENOUGH_WORKERS");
  expect(gateway.requests.length).toBe(1);
});

test("an error carries code, status and what to do next", async () => {
  const error = await dfs.get("nowhere").catch((error) => error);
  expect(error).toBeInstanceOf(DfsError);
  expect([error.code, error.status]).toEqual(["NO_SUCH_FILE", 404]);
  expect(error.next).toContain("Check the path");
});

test("a gateway that is not there is UNREACHABLE within seconds", async () => {
  const nobody = createClient({ url: `http://127.0.0.1:${freePorts(1)[0]}`, backoffMs: 5 });
  expect(await codeOf(nobody.head("x"))).toBe("UNREACHABLE");
});

test("a listing walks all pages, by directory or flat", async () => {
  for (let n = 0; n < 25; n++) await dfs.put(`d/${String(n).padStart(2, "0")}/x`, "x");
  const flat = await Array.fromAsync(dfs.list("d/", { byDirectory: false, pageSize: 10 }));
  expect(flat.map(({ path }) => path)).toEqual(await gateway.paths());
  const directories = await Array.fromAsync(dfs.list("d/", { pageSize: 7 }));
  expect(directories.length).toBe(25);
  expect(directories.every(({ kind, path }) => kind === "directory" && path.endsWith("/"))).toBe(true);
});

test("rename, copy, mkdir, remove, explain and worker modes say what happened", async () => {
  await dfs.put("x/a", "1");
  await dfs.copy("x/a", "x/b");
  expect(await codeOf(dfs.rename("x/a", "x/b"))).toBe("ALREADY_EXISTS");
  await dfs.rename("x/a", "x/b", { overwrite: true });
  expect(await gateway.paths()).toEqual(["x/b"]);
  await dfs.mkdir("y");
  expect((await dfs.explain("x/b")).chunks[0]?.replicas.length).toBe(3);
  expect(await codeOf(dfs.remove("x"))).toBe("DIRECTORY_NOT_EMPTY");
  await dfs.remove("x", { recursive: true });
  expect(await gateway.paths()).toEqual([]);
  await dfs.setWorkerMode("worker-2", "draining");
  expect((await dfs.cluster()).workers[1]?.mode).toBe("draining");
  await dfs.setWorkerMode("worker-2", "active");
});

test("a resumable upload that breaks in the middle sends only the rest", async () => {
  const bytes = random(3_000_000);
  gateway.faults.cutPatchAfter = 1_200_000;
  let uploadId = "";
  const file = await dfs.putResumable("large", new Blob([bytes]), { onUpload: (id) => (uploadId = id) });
  expect(file.size).toBe(bytes.length);
  expect(uploadId).not.toBe("");
  expect(await gateway.bytesOf("large")).toEqual(bytes);
  expect(gateway.requests.filter((line) => line.startsWith("PATCH")).length).toBe(2);
});

test("F5. before it goes on, the client has the bytes kept that came over a connection which may still hang", async () => {
  gateway.faults.cutPatchAfter = 1_200_000;
  await dfs.putResumable("settled", new Blob([random(3_000_000)]));
  const verbs = gateway.requests.filter((line) => /^[A-Z]+ \/uploads\/./.test(line)).map((line) => line.split(" ")[0]);
  expect(verbs).toEqual(["PATCH", "HEAD", "GET", "PATCH", "POST"]);
});

test("a later process goes on with an upload by its id, and begins anew if its bytes are not the source's", async () => {
  const bytes = random(1_000_000);
  const begun = async (content: Uint8Array<ArrayBuffer>): Promise<string> => {
    const { uploadId } = await gateway.data.transfers.openUpload({ path: "late" });
    await gateway.data.transfers.appendUpload(uploadId, 0, new Blob([content]).stream());
    return String(uploadId);
  };
  const progress: number[] = [];
  const uploadId = await begun(bytes.slice(0, 600_000));
  await dfs.putResumable("late", new Blob([bytes]), { uploadId, onProgress: (n) => progress.push(n) });
  expect(progress[0]).toBe(600_000);
  expect(await gateway.bytesOf("late")).toEqual(bytes);

  const other = await begun(random(600_000));
  await dfs.putResumable("late", new Blob([bytes]), { uploadId: other });
  expect(await gateway.bytesOf("late")).toEqual(bytes);
  expect(gateway.data.transfers.uploadStatus(Number(other))).rejects.toMatchObject({ code: "NO_SUCH_UPLOAD" });
});

test("an aborted call is ABORTED, not UNREACHABLE, and is not repeated", async () => {
  const stop = new AbortController();
  stop.abort();
  expect(await codeOf(dfs.put("x", "y", { signal: stop.signal }))).toBe("ABORTED");
  expect(gateway.requests).toEqual([]);
});
