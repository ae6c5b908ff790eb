/** Block requests to a worker, as gateways and other workers send them: path, headers and signature are spelled here alone. */
import { Refusal } from "../../messages/errors.ts";
import { BlockHeader, type BlockOutcomes, MAX_BLOCK_BYTES } from "../../messages/worker.ts";
import { formatChunkId } from "../../rules/chunk-id.ts";
import { formatCrc32 } from "../../rules/crc32.ts";
import type { Identity } from "../identity/identity.ts";
import { blockContent } from "../identity/signature.ts";
import { refusalOf } from "./answers.ts";
import { type CallOptions, request } from "./request.ts";
import { SHORT_ANSWER_BYTES, wholeBody } from "./whole-body.ts";
import { decode } from "./wire.ts";

/** One worker on the way of a block. */
export interface Hop {
  id: string;
  url: string;
}

const formatRoute = (hops: readonly Hop[]): string => hops.map(({ id, url }) => `${id}=${url}`).join(",");

/** @throws INVALID_HEADER */
export function parseRoute(route: string | null): Hop[] {
  if (!route) return [];
  return route.split(",").map((hop) => {
    const at = hop.indexOf("=");
    const url = hop.slice(at + 1);
    if (at < 1 || !/^https?:\/\/[^/?#\s]+$/.test(url))
      throw new Refusal(
        "INVALID_HEADER",
        `${BlockHeader.route} is id=url, comma-separated, not "${hop.slice(0, 100)}"`,
      );
    return { id: hop.slice(0, at), url };
  });
}

const pathOf = (chunkId: number, block: number): string => `/chunks/${formatChunkId(chunkId)}/blocks/${block}`;

export interface BlockToPut {
  chunkId: number;
  block: number;
  bytes: Uint8Array<ArrayBuffer>;
  crc32: number;
  blockSizeBytes: number;
  /** Seal the chunk with this, its only block. */
  seal?: boolean;
}

/**
 * Sends a block to `to`, which passes it on along `route`.
 *
 * @returns what became of it, for `to` and each of `route`
 * @throws Refusal of `to` for all of them; PEER_UNREACHABLE or TIMEOUT
 */
export async function putBlock(
  identity: Identity,
  to: Hop,
  route: readonly Hop[],
  block: BlockToPut,
  options: CallOptions,
): Promise<BlockOutcomes> {
  const path = pathOf(block.chunkId, block.block);
  const headers = new Headers({
    [BlockHeader.crc32]: formatCrc32(block.crc32),
    [BlockHeader.blockSize]: String(block.blockSizeBytes),
  });
  if (route.length > 0) headers.set(BlockHeader.route, formatRoute(route));
  if (block.seal) headers.set(BlockHeader.seal, "1");
  headers.set("authorization", identity.credentials.sign("PUT", path, blockContent(headers)));
  return request(
    `${to.url}${path}`,
    { method: "PUT", body: block.bytes, headers },
    options,
    async (response) => {
      if (response.status === 204) return [to, ...route].map(({ id }) => ({ workerId: id, stored: true }));
      if (response.status === 207) return decode(await wholeBody(response, SHORT_ANSWER_BYTES)) as BlockOutcomes;
      throw await refusalOf(response, to.url);
    },
    { who: to.id, what: `PUT ${path}` },
  );
}

/**
 * Reads blocks `first … first+count-1`, fewer at the chunk's end. They are not checked here: compare each with a CRC that
 * ties it to the committed checksum, not with one from the same answer.
 *
 * @param who what the error messages call the worker
 * @throws Refusal of the worker; PEER_UNREACHABLE or TIMEOUT
 */
export async function getBlocks(
  identity: Identity,
  url: string,
  chunkId: number,
  first: number,
  count: number,
  options: CallOptions,
  who: string = url,
): Promise<Uint8Array<ArrayBuffer>> {
  const path = pathOf(chunkId, first);
  const authorization = identity.credentials.sign("GET", path, blockContent(new Headers()));
  const target = `${path}?count=${count}`;
  return request(
    `${url}${target}`,
    { headers: { authorization } },
    options,
    async (response) => {
      if (response.status !== 200) throw await refusalOf(response, url);
      return wholeBody(response, count * MAX_BLOCK_BYTES);
    },
    { who, what: `GET ${target}` },
  );
}
