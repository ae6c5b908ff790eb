/** The tables and diagrams of README.md that say what the source says: made from it, so that they cannot say else. */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import type { TSchema } from "@sinclair/typebox";
import type { AnyStateMachine } from "xstate";
import { livenessMachine } from "../../actors/master/leading/liveness.machine.ts";
import { repairMachine } from "../../actors/master/leading/repair.machine.ts";
import { Config } from "../../actors/messages/config.ts";
import { ErrorCodes } from "../../actors/messages/errors.ts";
import { chartOf } from "../../actors/node/record/chart.ts";
import configJson from "../../config.json";
import { toMermaid } from "../../gateway/console/chart-export.ts";
import { type Operation, openApiDocument } from "../../gateway/rest/openapi-document.ts";
import { restGateway } from "../support/rest-gateway.ts";

export const ROOT = resolve(import.meta.dir, "../..");
const source = (file: string): string => readFileSync(join(ROOT, file), "utf8");

const cell = (text: string): string => text.replaceAll("|", "\\|").replace(/\s+/g, " ").trim();
const markdown = (head: string[], rows: string[][]): string =>
  [head, head.map(() => "---"), ...rows].map((row) => `| ${row.map(cell).join(" | ")} |`).join("\n");
const code = (text: string): string => `\`${text}\``;

/** Keys whose name says all, or that need more than the schema's few words. */
const MEANINGS: Record<string, string> = {
  masters: "keep the metadata; an odd number, 1 or 3 as a rule",
  workers: "store the chunks; others may join a running cluster without being listed",
  gateways: "offer REST; each is as good as the other",
  replicationFactor: "copies of every chunk, unless a file says otherwise",
  route:
    "how blocks reach their workers: each from the gateway (`fanout`), from worker to worker (`chain`), or as fits",
  "limits.maxUserMetadataBytes": "names and values of `x-meta-` and standard headers of one file",
  logLevel: "least level that is written to a node's log",
};

export const configKeys = (): string[] => configRows().map(([key]) => (key as string).replaceAll("`", ""));

function configRows(schema: TSchema = Config, prefix = "", values: unknown = configJson): string[][] {
  return Object.entries(schema.properties as Record<string, TSchema>).flatMap(([name, property]) => {
    const key = prefix + name;
    const value = (values as Record<string, unknown> | undefined)?.[name];
    if (property.type === "object") return configRows(property, `${key}.`, value);
    const shown = Array.isArray(value) ? `${value.length}` : value === undefined ? "" : code(JSON.stringify(value));
    const row = [code(key), shown, allowed(property), MEANINGS[key] ?? property.description ?? ""];
    const members = (property.items?.properties ?? {}) as Record<string, TSchema>;
    const described = Object.entries(members).filter(([member]) => member !== "id" && member !== "url");
    const inside = described.map(([member, { description = "", ...rest }]) => [
      code(`${key}[].${member}`),
      "",
      allowed(rest as TSchema),
      description,
    ]);
    return [row, ...inside];
  });
}

const amount = (n: number | undefined): string => (n === undefined ? "…" : n.toLocaleString("en"));

function allowed(schema: TSchema): string {
  if (schema.anyOf) return schema.anyOf.map((option: TSchema) => code(String(option.const))).join(" ");
  if (schema.type === "array") {
    const members = Object.keys(schema.items.properties).filter((name) => name === "id" || name === "url");
    return `${schema.minItems ?? 0} to ${schema.maxItems} of {${members.join(", ")}}`;
  }
  if (schema.type === "boolean") return "`true` `false`";
  if (schema.pattern) return code(schema.pattern);
  if (schema.type === "string") return "text";
  return `${amount(schema.minimum)} to ${amount(schema.maximum)}`;
}

/** First sentence of a docstring. */
const firstSentence = (doc: string): string =>
  /^.*?\.(?=\s|$)/s.exec(
    doc
      .replace(/^\s*\* ?/gm, "")
      .replace(/\s+/g, " ")
      .trim(),
  )?.[0] ?? doc.trim();

/** Messages of a file: type, what it says, its fields. */
export function messagesOf(file: string): { type: string; says: string }[] {
  const found: { type: string; says: string }[] = [];
  const pattern =
    /(?:\/\*\*((?:(?!\*\/)[\s\S])*?)\*\/\n)?export const \w+ = Type\.Object\(\{\s*type: Type\.Literal\("([^"]+)"\)/g;
  for (const [, doc = "", type] of source(file).matchAll(pattern))
    found.push({ type: type as string, says: firstSentence(doc).replace(/\.$/, "") });
  return found;
}

/** Who takes the messages of which file. */
const MESSAGE_FILES = {
  "a master": "actors/messages/master.ts",
  "a worker": "actors/messages/worker.ts",
  "another master": "actors/messages/raft.ts",
  "any node": "actors/messages/records.ts",
};

/** What a name says by itself, where the source has no docstring for it. */
const PLAIN: Record<string, string> = {
  STAT: "What is at this path?",
  UPLOAD_STATUS: "Where does this upload stand?",
  CLUSTER_STATE: "How is the cluster?",
  COMMIT_UPLOAD: "Makes an upload the file at its path, at once and whole",
  ABORT_UPLOAD: "Throws an upload away",
  DELETE_PATH: "Deletes a file or a directory in one step",
  MAKE_DIRECTORY: "Makes a directory, with those above it",
  SET_WORKER_MODE: "What an operator wants of a worker",
  RECORDS_AFTER: "What have your machines done since this record?",
  MACHINE_STATES: "Where do your machines stand?",
  MACHINES: "Which machines do you have, with which states?",
  RENEW_GRANTS: "Prolongs grants whose chunks are still being written",
  "rpc.preVoteReply": "Answer to `rpc.preVote`",
  "rpc.vote": "May I lead in this term?",
  "rpc.voteReply": "Answer to `rpc.vote`",
  "rpc.append": "The leader's log entries, to follow the one named",
  "rpc.beatReply": "Answer to `rpc.beat`",
};

const says = ({ type, says: doc }: { type: string; says: string }): string => PLAIN[type] ?? doc;

/** The routes as they declare themselves; those of the console's own page are left to /openapi. */
function routeRows(): string[][] {
  const { paths } = openApiDocument(restGateway().app);
  return Object.entries(paths)
    .filter(([path]) => !path.startsWith("/console/"))
    .flatMap(([path, operations]) =>
      Object.entries(operations).map(([verb, operation]) => [
        code(`${verb.toUpperCase()} ${path}`),
        operation.summary + (operation.security?.length === 0 ? " (no token)" : ""),
        takes(operation),
      ]),
    );
}

function takes({ parameters, requestBody }: Operation): string {
  const query = parameters.filter((parameter) => parameter.in === "query").map(({ name }) => code(`?${name}`));
  const body = Object.entries(requestBody?.content ?? {}).map(([type, { schema }]) =>
    type === "application/json" ? fieldsOf(schema as TSchema) : type.startsWith("multipart/") ? "a form" : "the bytes",
  );
  return [...query, ...body].join(" ") || "–";
}

const fieldsOf = ({ anyOf = [], properties = {} }: TSchema): string =>
  anyOf.length > 0 ? anyOf.map(fieldsOf).join(" or ") : code(`{${Object.keys(properties).join(", ")}}`);

const diagram = (machine: AnyStateMachine): string => `\`\`\`mermaid\n${toMermaid(chartOf(machine))}\n\`\`\``;

export const TABLES: Record<string, () => string> = {
  routes: () => markdown(["request", "does", "takes"], routeRows()),
  config: () => markdown(["key", "as shipped", "allowed", "meaning"], configRows()),
  errors: () =>
    markdown(
      ["code", "status", "what to do"],
      Object.entries(ErrorCodes)
        .filter(([, { next }]) => next !== "")
        .map(([name, { status, next }]) => [code(name), String(status), next]),
    ),
  messages: () =>
    markdown(
      ["to", "message", "says"],
      Object.entries(MESSAGE_FILES).flatMap(([to, file]) =>
        messagesOf(file).map((message) => [to, code(message.type), says(message)]),
      ),
    ),
  liveness: () => diagram(livenessMachine),
  repair: () => diagram(repairMachine),
  commands: () =>
    markdown(
      ["command", "does"],
      messagesOf("actors/messages/commands.ts").map((message) => [code(message.type), says(message)]),
    ),
};

const block = (name: string): RegExp => new RegExp(`(<!-- table: ${name} -->\n)[\\s\\S]*?(<!-- end -->)`);

/** @returns the README with its tables as they should be; throws if one has no place in it */
export function withTables(readme: string): string {
  let text = readme;
  for (const [name, make] of Object.entries(TABLES)) {
    if (!block(name).test(text)) throw new Error(`README.md has no place for the table ${name}`);
    text = text.replace(block(name), (_, open: string, end: string) => `${open}\n${make()}\n\n${end}`);
  }
  return text;
}
