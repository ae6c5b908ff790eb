/** What the page says of its own knowledge, without a browser: live is only what comes now. */
import { expect, test } from "bun:test";
import { SILENT_AFTER_MS, silentForMs, streamInWords } from "../../gateway/console/page/silence-words.ts";

test("C4. live is a stream that is open and was heard of late; connecting, loading, silence and a break are not", () => {
  const heard = { now: 10_000, heardAt: 9000 };
  expect(streamInWords("open", heard)).toEqual({ isLive: true, text: "live" });
  expect(streamInWords("connecting", heard)).toEqual({ isLive: false, text: "connecting" });
  expect(streamInWords("loading", heard)).toEqual({ isLive: false, text: "loading the past" });
  expect(streamInWords("broken", heard)).toEqual({ isLive: false, text: "silent for 1.0 s" });
  expect(streamInWords("open", { now: 9001 + SILENT_AFTER_MS, heardAt: 9000 })).toEqual({
    isLive: false,
    text: "silent for 6.0 s",
  });
});

test("C4. what is shown is stale once nothing answered for long, at once if the connection is refused", () => {
  expect(silentForMs({ now: 5000, heardAt: null }, false)).toBeNull();
  expect(silentForMs({ now: 5000, heardAt: null }, true)).toBe(0);
  expect(silentForMs({ now: 5000, heardAt: 4000 }, false)).toBeNull();
  expect(silentForMs({ now: 5000, heardAt: 4000 }, true)).toBe(1000);
  expect(silentForMs({ now: 5000 + SILENT_AFTER_MS, heardAt: 4000 }, false)).toBe(1000 + SILENT_AFTER_MS);
});
