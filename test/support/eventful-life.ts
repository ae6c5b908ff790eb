/** A short history of a cluster in which every kind of write occurs. */
import type { Command } from "../../actors/messages/commands.ts";
import type { LogRunner } from "./log-runner.ts";

/** @returns the state's hash at some points on the way, and at its end */
export function eventfulLife(dfs: LogRunner): number[] {
  const hashes: number[] = [];
  const note = () => hashes.push(dfs.metadata.applied().stateHash);
  const run = (command: Command) => dfs.run(command);
  const condition = {};
  const userMetadata = { colour: "blue, green", 7: "x", a: "ü" };
  run({ type: "SET_CLUSTER_VERSION", version: 3 });
  dfs.accept(dfs.put("a/b/one", [dfs.chunk(["w3", "w1", "w2"])], { userMetadata, sha256: "ab".repeat(32) }));
  dfs.accept(dfs.put("a/b/two", [dfs.chunk(), dfs.chunk(["w4", "w5"], 20)]));
  note();
  const upload = dfs.accept<{ uploadId: number }>({
    ...{ type: "OPEN_UPLOAD", path: "a/large", condition: { ifNoneMatchAny: true } },
    ...{ replicationFactor: 3, minReplicas: 2, chunkSizeBytes: 10, leaseMs: 1000 },
    ...{ contentType: "image/png", sha256: null, userMetadata },
  });
  const staged = dfs.chunk();
  run({ type: "STAGE_CHUNKS", ...upload, offset: 0, chunks: [staged], leaseMs: 1000 });
  run({ type: "COMMIT_UPLOAD", ...upload, sizeBytes: 10, crc32: null, sha256: null });
  note();
  run({ type: "MAKE_DIRECTORY", path: "empty" });
  run({ type: "COPY_PATH", from: "a", to: "copy", overwrite: false, condition });
  run({ type: "RENAME_PATH", from: "a/b/one", to: "a/b/two", overwrite: true, condition });
  run({ type: "RENAME_PATH", from: "copy", to: "moved", overwrite: false, condition });
  note();
  const grantId = dfs.grant(3);
  run({ type: "RENEW_GRANTS", grantIds: [grantId], leaseMs: 90_000 });
  run({ type: "MARK_REPLICAS", replicas: [{ chunkId: grantId, workerId: "w1", state: "corrupt" }] });
  run({ type: "CLOSE_GRANTS", grantIds: [grantId, 1] });
  run({ type: "MARK_REPLICAS", replicas: [{ chunkId: staged.chunkId, workerId: "w1", state: "missing" }] });
  run({
    type: "ADD_REPLICAS",
    replicas: ["w4", "w5"].map((workerId) => ({ chunkId: staged.chunkId, workerId, reason: "copied" })),
  });
  run({ type: "DROP_REPLICA", term: 1, chunkId: staged.chunkId, workerId: "w2", keep: ["w3", "w4", "w5"] });
  run({ type: "FORGET_GARBAGE", items: [{ workerId: "w2", chunkId: staged.chunkId }] });
  run({ type: "SET_WORKER_LIVENESS", workerId: "w3", liveness: "dead" });
  run({ type: "SET_WORKER_MODE", workerId: "w4", mode: "draining" });
  run({
    ...{ type: "REGISTER_WORKER", workerId: "w2", url: "http://127.0.0.1:9", zone: "z" },
    ...{ incarnation: "second-disk", capacityBytes: 7 },
  });
  note();
  const { sessionId } = dfs.accept<{ sessionId: number }>({ type: "OPEN_SESSION", clientId: "g1" });
  const late = (path: string): Command => ({ type: "MAKE_DIRECTORY", path });
  dfs.run(late("s/1"), { sessionId, seq: 1, lowestUnacked: 1 }, "key");
  dfs.run(late("s/2"), { sessionId, seq: 1, lowestUnacked: 1 });
  dfs.run(late("s/3"), { sessionId, seq: 2, lowestUnacked: 1 }, "key");
  dfs.run(late("s/4"), { sessionId, seq: 60, lowestUnacked: 60 });
  run({ type: "DELETE_PATH", path: "nowhere", recursive: false, condition });
  note();
  const many = Array.from({ length: 20 }, () => dfs.chunk(["w1", "w5"], 5));
  dfs.accept(dfs.put("many", many, { crc32: 1 }));
  run({ type: "DELETE_PATH", path: "many", recursive: false, condition });
  run({ type: "DELETE_PATH", path: "moved", recursive: true, condition });
  run({ type: "DELETE_PATH", path: "a/b/two", recursive: false, condition });
  for (let n = 0; n < 8; n++) run({ type: "REAP_DELETED" });
  note();
  const lost = dfs.accept<{ uploadId: number }>({
    ...{ type: "OPEN_UPLOAD", path: "never", condition, replicationFactor: 2, minReplicas: 1, chunkSizeBytes: 5 },
    ...{ leaseMs: 1000, contentType: "text/plain", sha256: null, userMetadata: {} },
  });
  run({ type: "STAGE_CHUNKS", ...lost, offset: 0, chunks: [dfs.chunk(["w1"], 5)], leaseMs: 1000 });
  run({ type: "ABORT_UPLOAD", ...lost });
  dfs.logTime = 2 * 24 * 3_600_000;
  run({ type: "EXPIRE", sessionIdleMs: 1000 });
  run({ type: "CHECK_STATE", index: 0, hash: 0 });
  run({ type: "NOOP" });
  note();
  run({ type: "SET_CLUSTER_VERSION", version: 4 });
  dfs.accept(dfs.putTiny("tiny/one", Buffer.from("first")));
  dfs.accept(dfs.putTiny("tiny/one", Buffer.from("second")));
  run({ type: "COPY_PATH", from: "tiny", to: "tiny too", overwrite: false, condition });
  run({ type: "DELETE_PATH", path: "tiny", recursive: true, condition });
  const [garbage, shared] = [dfs.chunk(["w1", "w2"]), dfs.chunk(["w1", "w2"])];
  dfs.accept(dfs.put("later/one", [garbage]));
  dfs.accept(dfs.put("later/two", [shared]));
  run({ type: "COPY_PATH", from: "later/two", to: "later/three", overwrite: false, condition });
  run({ type: "DELETE_PATH", path: "later/one", recursive: false, condition });
  run({ type: "DELETE_PATH", path: "later/two", recursive: false, condition });
  for (let n = 0; n < 4; n++) run({ type: "REAP_DELETED" });
  run({ type: "FORGET_GARBAGE", items: [{ workerId: "w1", chunkId: garbage.chunkId }] });
  dfs.accept(dfs.put("placed/one", [dfs.chunk()]));
  dfs.accept(dfs.put("placed/two", [dfs.chunk()]));
  run({
    ...{ type: "GRANT_CHUNKS", gatewayId: "g2", count: 1, leaseMs: 1000, chosen: ["w1", "w2"] },
    decision: {
      atLogTime: 7,
      rule: "another moment",
      candidates: [{ workerId: "w1", score: 0.5 }],
      counts: { dead: 1 },
    },
  });
  dfs.logTime += 60_000;
  run({ type: "EXPIRE", sessionIdleMs: 1000 });
  dfs.logTime += 40 * 24 * 3_600_000;
  run({ type: "EXPIRE", sessionIdleMs: 1000 });
  note();
  return hashes;
}
