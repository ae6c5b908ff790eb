/** Answers that are taken whole, each with a bound: what answers at a node's address need not be a node of ours. */
import { Refusal } from "../../messages/errors.ts";

/** A refusal, or what became of a block at each worker of its route. */
export const SHORT_ANSWER_BYTES = 1 << 20;

/**
 * Nodes never pack what they say. `fetch` unpacks whatever calls itself gzip, and a few kilobytes of that can be gigabytes:
 * every request between nodes asks it not to.
 */
export const AS_SENT = { decompress: false } as const;

/** @throws Refusal PEER_UNREACHABLE if there is more than `mostBytes`; whatever breaks the connection */
export async function wholeBody(response: Response, mostBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  const stated = Number(response.headers.get("content-length") ?? Number.NaN);
  if (stated <= mostBytes) return new Uint8Array(await response.arrayBuffer());
  const pieces: Uint8Array[] = [];
  let bytes = Number.isNaN(stated) ? 0 : stated;
  if (bytes <= mostBytes)
    for await (const piece of response.body ?? []) {
      bytes += piece.length;
      if (bytes > mostBytes) break;
      pieces.push(piece);
    }
  if (bytes <= mostBytes) return Buffer.concat(pieces);
  await response.body?.cancel().catch(() => {});
  throw new Refusal(
    "PEER_UNREACHABLE",
    `${response.url} answers more than ${mostBytes} bytes, as no node of ours would`,
  );
}
