/**
 * `Upload-Metadata`: pairs of a name and a value in base64, with which tus clients describe a file. Pure.
 *
 * `path`, or else `filename`, is the file's path; `filetype` its content type; `cacheControl` and its like, by their names
 * in JSON or in headers, come back as headers; all others are metadata, and their names lose their capitals.
 */
import { Refusal } from "../../../actors/messages/errors.ts";
import { CONTENT_HEADER_FIELDS, type ContentHeaders, saidHeaders } from "../../../actors/rules/file-headers.ts";
import { checkPath } from "../../../actors/rules/path.ts";
import { checkFileHeaders, type FileHeaders } from "../../http/request-headers.ts";

const HEADER = "Upload-Metadata";
const invalid = (text: string): Refusal => new Refusal("INVALID_HEADER", `${HEADER} ${text}`, { header: HEADER });

const CONTENT_FIELDS = new Map(
  CONTENT_HEADER_FIELDS.flatMap(([field, name]) => [
    [field.toLowerCase(), field],
    [name.toLowerCase(), field],
  ]),
);

/** @throws INVALID_HEADER, INVALID_PATH, METADATA_TOO_LARGE */
export function readUploadMetadata(headers: Headers, maxBytes: number): FileHeaders & { path: string } {
  const pairs = pairsOf(headers.get(HEADER) ?? "");
  const take = (name: string): string | undefined => {
    const value = pairs.get(name);
    pairs.delete(name);
    return value === "" ? undefined : value;
  };
  const path = take("path") ?? take("filename");
  if (path === undefined) throw invalid("has no path and no filename");
  const contentType = take("filetype");
  const contentHeaders: ContentHeaders = {};
  for (const [name, field] of CONTENT_FIELDS) {
    const value = take(name);
    if (value !== undefined) contentHeaders[field] = value;
  }
  return { path: checkPath(path), ...checkFileHeaders({ contentType, contentHeaders, userMetadata: pairs }, maxBytes) };
}

function pairsOf(field: string): Map<string, string> {
  const pairs = new Map<string, string>();
  for (const pair of field.split(",")) {
    if (pair.trim() === "") continue;
    const [, given = "", base64 = ""] = /^([!-~]+)(?: +([A-Za-z0-9+/]*={0,2}))?$/.exec(pair.trim()) ?? [];
    const name = given.toLowerCase();
    if (name === "") throw invalid(`has "${pair.trim().slice(0, 100)}"; allowed: a name, a space, a value in base64`);
    if (pairs.has(name)) throw invalid(`has ${name.slice(0, 100)} twice`);
    pairs.set(name, textOf(base64, name));
  }
  return pairs;
}

function textOf(base64: string, name: string): string {
  try {
    return new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(Buffer.from(base64, "base64"));
  } catch {
    throw invalid(`has a value of ${name.slice(0, 100)} that is not UTF-8`);
  }
}

/** The same pairs as text. */
export function uploadMetadata(file: {
  path: string;
  contentType?: string;
  userMetadata?: Record<string, string>;
}): string {
  const { headers, metadata } = saidHeaders(file.userMetadata ?? {});
  const pairs: [string, string][] = [
    [metadata.has("filename") ? "path" : "filename", file.path],
    ...(file.contentType === undefined ? [] : [["filetype", file.contentType] satisfies [string, string]]),
    ...Object.entries(headers),
    ...metadata,
  ];
  return pairs.map(([name, value]) => `${name} ${Buffer.from(value).toString("base64")}`.trim()).join(",");
}
