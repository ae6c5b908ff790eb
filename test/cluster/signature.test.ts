import { expect, test } from "bun:test";
import { sign, verifySignature } from "../../actors/node/identity/signature.ts";

const SECRET = "5".repeat(64);
const verify = (authorization: string | null) => verifySignature(SECRET, authorization, "GET", "/x", "");

test("S9. a signature of the right length in characters and another in bytes is refused as any wrong one", () => {
  const [, sender, time, digest = ""] = /^DFS (.+?):(.+?):(.+)$/.exec(sign(SECRET, "worker-1", "GET", "/x", "")) ?? [];
  expect(verify(`DFS ${sender}:${time}:${digest}`)).toBe("worker-1");
  for (const wrong of [
    "\x80".repeat(64),
    "ü".repeat(64),
    "ü".repeat(32),
    `${digest.slice(1)}é`,
    `${digest}0`,
    "",
    "\u{1f600}",
  ])
    expect(() => verify(`DFS ${sender}:${time}:${wrong}`)).toThrow(/does not match|no node signature/);
  for (const header of [null, "", "DFS", "DFS ", "DFS :::", "DFS a", "DFS a:b", "Bearer x", "DFS a:1:"])
    expect(() => verify(header)).toThrow("carries no node signature");
});
