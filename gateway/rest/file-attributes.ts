/** What every way to store a file has in common: its layout over chunks and workers, and the condition of the write. */
import { type Static, Type } from "@sinclair/typebox";
import type { Config } from "../../actors/messages/config.ts";
import { Refusal } from "../../actors/messages/errors.ts";
import type { WriteCondition } from "../../actors/messages/primitives.ts";
import { writeCondition } from "../http/conditions.ts";
import type { Namespace } from "../ports/namespace.ts";
import type { FileRequest } from "../ports/transfers.ts";

/** How a file is laid out over chunks and workers: the same words in a query and in the JSON that opens a resumable upload. */
export const FileLayout = {
  replication: Type.Optional(Type.Integer({ minimum: 1, maximum: 16, description: "copies of each chunk, 1 to 16" })),
  chunkSize: Type.Optional(
    Type.Integer({
      minimum: 1 << 16,
      maximum: 2 ** 32,
      description: "bytes at which the file is cut, 65536 to 4294967296, a multiple of the cluster's blockSizeBytes",
    }),
  ),
};
export const FileLayoutQuery = Type.Object(FileLayout, { additionalProperties: false });

/** @throws INVALID_PARAMETER */
export function readFileLayout(
  { replication, chunkSize }: Static<typeof FileLayoutQuery>,
  { blockSizeBytes }: Config,
): Pick<FileRequest, "replicationFactor" | "chunkSizeBytes"> {
  if (chunkSize !== undefined && chunkSize % blockSizeBytes !== 0)
    throw new Refusal("INVALID_PARAMETER", `chunkSize is ${chunkSize}; allowed: a multiple of ${blockSizeBytes}`, {
      parameter: "chunkSize",
    });
  return { replicationFactor: replication, chunkSizeBytes: chunkSize };
}

/** The condition that headers set for a change at a path. @throws PRECONDITION_FAILED if it cannot come true; INVALID_HEADER */
export function readCondition(
  namespace: Namespace,
  headers: Headers,
  path: string,
): Promise<WriteCondition | undefined> {
  return writeCondition(headers, async () => {
    const entry = await namespace.stat(path);
    return entry?.kind === "file" ? entry : null;
  });
}
