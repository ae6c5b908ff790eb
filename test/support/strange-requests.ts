/** Requests that mean well or ill, and are odd: made for one route each, from a seed. */
import { pick as pickFrom } from "./random.ts";

export interface Aim {
  method: string;
  /** With its parameters filled in. */
  path: string;
  /** What would do harm if it were let through. */
  body: string;
}

const PUBLIC = ["/console", "/console/assets/x.js", "/health/live", "/health/ready"];

const TARGETS: ((path: string, open: string) => string)[] = [
  (path) => path,
  (path, open) => `${open}#${path}`,
  (path, open) => `/a${open}#${path}`,
  (path) => `${path}#`,
  (path, open) => `${path}#${open}`,
  (path, open) => `${open}/..${path}`,
  (path, open) => `${open}/../../..${path}`,
  (path, open) => `${open}/%2e%2e/%2E%2e/.%2e${path}`,
  (path, open) => `${open}\\..\\..\\..${path}`,
  (path, open) => `${open}%2f..%2f..${path}`,
  (path, open) => `${open}${path}`,
  (path, open) => `${path}/..${open}`,
  (path, open) => `${path}?${open}`,
  (path, open) => `${path};${open}`,
  (path, open) => `${path}/${"../".repeat(8)}${open.slice(1)}`,
  (path) => path.replaceAll("/", "\\"),
  (path) => `/${path}`,
  (path) => `//evil.example${path}`,
  (path) => `${path}/`,
  (path) => `${path}/.`,
  (path) => `/.${path}`,
  (path) => path.replaceAll("/", "/%2F"),
  (path) => `/${[...path.slice(1)].map((c) => `%${c.charCodeAt(0).toString(16)}`).join("")}`,
  (path) => `/%${path.charCodeAt(1).toString(16)}${path.slice(2)}`,
  (path) => path.toUpperCase(),
  (path) => `${path}%00`,
  (path) => `${path}\x00`,
  (path) => `${path}%`,
  (path) => `${path}%zz%ff%c0%ae`,
  (path) => `${path}\xff\xfe`,
  (path) => `${path}\xc3\xbc`,
  (path) => `${path}\t`,
  (path) => `${path} ${path}`,
  (path) => `http://127.0.0.1${path}`,
  (path, open) => `http://evil.example${open}/..${path}`,
  (path, open) => `http://evil.example${open}#${path}`,
  (path) => `https://evil.example:99999${path}`,
  (path) => `HTTP://[${path}`,
  (path) => `file://${path}`,
  (path) => `javascript:${path}`,
  (path) => `@evil.example${path}`,
  (path) => `:80${path}`,
  (path) => `evil.example:443${path}`,
  (path) => path.slice(1),
  (path) => `?${path}`,
  (path) => `${path}?${"a=b&".repeat(50)}`,
  (path) => `${path}${"/x".repeat(150)}`,
  (path) => `/x${"/..".repeat(120)}${path}`,
  (path) => `${path}${"y".repeat(9000)}`,
  (path) => `${path}${"z".repeat(20_000)}`,
  () => "*",
  () => "",
  () => "/",
  () => "//",
];

/** null: none is named. */
const HOSTS: (string | null)[] = [
  ...["127.0.0.1", "localhost:8080", "[::1]:1", "gateway.example"],
  null,
  ...["", " ", "a b", "a\tb", "[", "[::1", "]", "[::g]", "127.0.0.1:99999", "127.0.0.1:x", ":80", "a:b:c", "1.2.3.256"],
  ...[
    "a/console",
    "a/console#",
    "a?/console",
    "a#",
    "a\\console",
    "u:p@h",
    "\xfc",
    "\xff",
    "a,b",
    "a, b",
    "%2e%2e",
    "<",
  ],
  ...[
    "localhost\r\nHost: evil.example",
    "a b\r\nHost: localhost",
    "2130706433",
    "127.1",
    "x".repeat(3000),
    "xn--",
    "*",
  ],
];
const METHODS = [
  "GET",
  "HEAD",
  "POST",
  "PUT",
  "DELETE",
  "PATCH",
  "OPTIONS",
  "TRACE",
  "CONNECT",
  "PROPFIND",
  "FOO",
  "get",
];
const VERSIONS = ["HTTP/1.1", "HTTP/1.1", "HTTP/1.1", "HTTP/1.0", "HTTP/1.0", "HTTP/2.0", "HTTP/0.9", "http/1.1"];
const HEADERS = [
  ...["", "", "Authorization: Bearer", "Authorization: Bearer x", "Authorization: bearer \xff\xfe", "Authorization:"],
  ...[
    "Authorization: Basic Og==",
    `Authorization: DFS a:1:${"\xc3".repeat(64)}`,
    "Authorization: DFS a:1:",
    "Cookie: a=%",
  ],
  ...[`Authorization: DFS worker-1:1:${"0".repeat(64)}`, `Authorization: DFS ::${"\x80".repeat(32)}`, "Origin: null"],
  ...["Origin: http://127.0.0.1", "Range: bytes=0-9223372036854775807,-", 'If-Match: ,,"a",', "Upload-Offset: 1e400"],
  ...["X-Original-URL: /console", "X-Forwarded-Host: localhost", "Forwarded: for=127.0.0.1", "Expect: 100-continue"],
  ...["Connection: upgrade\r\nUpgrade: websocket", "Content-Type: multipart/form-data; boundary=", "x-meta-a: \x01"],
];

/** @param whole set if the body must be there: what takes it waits for it */
export function strangeRequest({ method, path, body }: Aim, random: () => number, whole = false): string {
  const pick = <T>(list: readonly T[]): T => pickFrom(random, list);
  const target = pick(TARGETS)(path, pick(PUBLIC));
  const host = random() < 0.4 ? pick(HOSTS.slice(0, 4)) : pick(HOSTS);
  const verb = random() < 0.7 ? method : pick(METHODS);
  const length = pick([
    `Content-Length: ${body.length}`,
    `Content-Length: ${body.length}`,
    "Transfer-Encoding: chunked",
    "Content-Length: 0",
    "",
    ...(whole ? [] : ["Content-Length: 9007199254740993", "Content-Length: 18446744073709551617"]),
  ]);
  const content = length.startsWith("Transfer") ? `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n` : body;
  const lines = [
    `${verb} ${target} ${pick(VERSIONS)}`,
    host === null ? "" : `Host: ${host}`,
    pick(HEADERS),
    random() < 0.5 ? "Content-Type: application/json" : "",
    length,
  ];
  return `${lines.filter((line) => line !== "").join("\r\n")}\r\n\r\n${content}`;
}
