/** A body of bounded length, piece by piece. */
import { Refusal } from "../../actors/messages/errors.ts";

/** @throws PAYLOAD_TOO_LARGE, as `tooLarge` says it; BODY_INCOMPLETE */
export async function* boundedBody(
  request: Request,
  mostBytes: number,
  tooLarge: string,
): AsyncGenerator<Uint8Array<ArrayBuffer>, void> {
  let bytes = 0;
  try {
    for await (const piece of request.body ?? []) {
      bytes += piece.byteLength;
      if (bytes > mostBytes) throw new Refusal("PAYLOAD_TOO_LARGE", tooLarge);
      yield piece as Uint8Array<ArrayBuffer>;
    }
  } catch (cause) {
    if (cause instanceof Refusal) throw cause;
    throw new Refusal("BODY_INCOMPLETE", "The body broke off");
  }
}
