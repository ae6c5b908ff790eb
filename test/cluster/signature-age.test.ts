/** How long a signature is good for: what was overheard can be sent again no longer than that. */
import { afterEach, expect, setSystemTime, test } from "bun:test";
import { sign, verifySignature } from "../../actors/node/identity/signature.ts";

const SECRET = "7".repeat(64);
const SIGNED_AT = 1_800_000_000_000;
const MINUTE = 60_000;
afterEach(() => void setSystemTime());

/** The sender, or the code of the refusal. */
function verifiedAt(ms: number, authorization: string): string {
  setSystemTime(ms);
  try {
    return verifySignature(SECRET, authorization, "POST", "/messages", "content");
  } catch (error) {
    return (error as { code: string }).code;
  }
}

test("a signature is good for five minutes before and after it was made, and not a moment longer", () => {
  setSystemTime(SIGNED_AT);
  const authorization = sign(SECRET, "worker-1", "POST", "/messages", "content");
  for (const offMs of [0, 5 * MINUTE, -5 * MINUTE])
    expect([offMs, verifiedAt(SIGNED_AT + offMs, authorization)]).toEqual([offMs, "worker-1"]);
  for (const offMs of [5 * MINUTE + 1, -5 * MINUTE - 1, 3_600_000, 365 * 86_400_000])
    expect([offMs, verifiedAt(SIGNED_AT + offMs, authorization)]).toEqual([offMs, "UNAUTHENTICATED"]);
});

test("a date that is none is too old, however well it is signed", () => {
  const digestOf = (time: string) =>
    new Bun.CryptoHasher("sha256", SECRET).update(`POST /messages\nworker-1\n${time}\ncontent`).digest("hex");
  for (const time of ["soon", "Infinity", "NaN", "1e999"])
    expect([time, verifiedAt(SIGNED_AT, `DFS worker-1:${time}:${digestOf(time)}`)]).toEqual([time, "UNAUTHENTICATED"]);
});
