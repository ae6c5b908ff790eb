/** Answers that are taken whole, each with a bound: a stranger may answer at a node's address. */
import { Refusal } from "../../messages/errors.ts";

/** A refusal, or what became of a block at each worker of its route. */
export const SHORT_ANSWER_BYTES = 1 << 20;

/**
 * Nodes never compress an answer. `fetch` unpacks a body that is declared as gzip, and a few kilobytes of gzip can become
 * gigabytes: every request between nodes turns that off.
 */
export const AS_SENT = { decompress: false } as const;

/** @throws Refusal PEER_UNREACHABLE if the body has more than `mostBytes`; the error that breaks the connection */
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
