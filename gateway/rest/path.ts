/**
 * The file path in a URL. Taken from the raw URL and percent-decoded once, so that `%2F` is a
 * separator like `/`, and names with spaces, `?`, `#`, `+`, `%` or any Unicode travel unharmed.
 */
import { Refusal } from "../../actors/messages/errors.ts";
import { rawPath } from "../../actors/node/http/entrance.ts";
import { checkPath } from "../../actors/rules/path.ts";

/** @throws INVALID_PATH */
export function pathFromUrl(url: string, prefix = "/files/"): string {
  return checkPath(decodePercent(rawPath(url).slice(prefix.length)));
}

/** @throws INVALID_PATH if an escape is broken or the bytes are not UTF-8 */
function decodePercent(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Refusal("INVALID_PATH", "The path has a broken percent escape, or its bytes are not UTF-8", {
      path: text.slice(0, 200),
    });
  }
}
