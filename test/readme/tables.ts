/** The tables and diagrams of the READMEs that repeat the source: they are made from it, so that they cannot differ. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { TSchema } from "@sinclair/typebox";
import type { Registry } from "prom-client";
import type { AnyStateMachine } from "xstate";
import { livenessMachine } from "../../actors/master/leading/liveness.machine.ts";
import { repairMachine } from "../../actors/master/leading/repair.machine.ts";
import { stewardMachine } from "../../actors/master/leading/steward.machine.ts";
import { masterMetrics } from "../../actors/master/metrics.ts";
import type { Command } from "../../actors/messages/commands.ts";
import { Config } from "../../actors/messages/config.ts";
import { ErrorCodes } from "../../actors/messages/errors.ts";
import { MESSAGE_SENDERS, type Role, type Senders } from "../../actors/messages/senders.ts";
import { chartOf } from "../../actors/node/record/chart.ts";
import { knownSince } from "../../actors/rules/decide/cluster-version.ts";
import { workerMetrics } from "../../actors/worker/metrics.ts";
import configJson from "../../config.json";
import { toMermaid } from "../../gateway/console/chart-export.ts";
import { type Operation, openApiDocument } from "../../gateway/rest/openapi-document.ts";
import { MACHINES } from "../console/draw-machines.ts";
import { restGateway } from "../support/rest-gateway.ts";
import { ROOT } from "./readmes.ts";

const source = (file: string): string => readFileSync(join(ROOT, file), "utf8");

const cell = (text: string): string => text.replaceAll("|", "\\|").replace(/\s+/g, " ").trim();
const markdown = (head: string[], rows: string[][]): string =>
  [head, head.map(() => "---"), ...rows].map((row) => `| ${row.map(cell).join(" | ")} |`).join("\n");
const code = (text: string): string => `\`${text}\``;

export const configKeys = (): string[] => configRows().map(([key]) => (key as string).replaceAll("`", ""));

function configRows(schema: TSchema = Config, prefix = "", values: unknown = configJson): string[][] {
  return Object.entries(schema.properties as Record<string, TSchema>).flatMap(([name, property]) => {
    const key = prefix + name;
    const value = (values as Record<string, unknown> | undefined)?.[name];
    if (property.type === "object") return configRows(property, `${key}.`, value);
    const shown = Array.isArray(value) ? `${value.length}` : value === undefined ? "" : code(JSON.stringify(value));
    const row = [code(key), shown, allowed(property), property.description ?? ""];
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

/** First sentence of a docstring, without the stop at its end. */
function firstSentence(doc: string): string {
  const text = doc
    .replace(/^\s*\* ?/gm, "")
    .replace(/\s+/g, " ")
    .trim();
  return (/^.*?[.?](?=\s|$)/.exec(text)?.[0] ?? text).replace(/\.$/, "");
}

/** The messages of a file: type, and the first sentence of its docstring. */
export function messagesOf(file: string): { type: string; says: string }[] {
  const pattern =
    /(?:\/\*\*((?:(?!\*\/)[\s\S])*?)\*\/\n)?export const \w+ = Type\.Object\(\{\s*type: Type\.Literal\("([^"]+)"\)/g;
  return [...source(file).matchAll(pattern)].map(([, doc = "", type]) => ({
    type: type as string,
    says: firstSentence(doc),
  }));
}

/** Who takes the messages of which files in `actors/messages/`. */
export const MESSAGE_FILES = {
  "a master": ["master", "questions", "worker-reports"],
  "a worker": ["worker"],
  "another master": ["raft"],
  "any node": ["records"],
};

/** Who sends a message, as `senders.ts` allows it; what masters say to each other travels in RAFT. */
function sendersOf(type: string): string {
  const senders: Record<string, Senders> = MESSAGE_SENDERS;
  const roles = (senders[type] ?? MESSAGE_SENDERS.RAFT).from.filter((role) => role !== "stranger");
  return roles.length === 3 ? "any node" : roles.map((role: Role) => `a ${role}`).join(", ");
}

const gateway = await restGateway();

/** The routes as they declare themselves; those of the console's own page are left to /openapi. */
function routeRows(): string[][] {
  const { paths } = openApiDocument(gateway.app);
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

/** A machine, the file that defines it, and its states, each of the first level with its description. */
function machineRows(): string[][] {
  const files = new Bun.Glob("{actors,gateway}/**/*.machine.ts");
  const fileOf = new Map(
    [...files.scanSync({ cwd: ROOT })].map((file) => [/([\w-]+)\.machine\.ts$/.exec(file)?.[1] ?? "", file]),
  );
  return MACHINES.map((machine) => {
    const { machine: name, states } = chartOf(machine);
    const [root] = states;
    const topLevel = states.filter(({ parent }) => parent === root?.id).map(({ key }) => key);
    return [code(name), code(fileOf.get(name) ?? ""), topLevel.join(", ")];
  });
}

/** Name and help of every metric in an exposition. */
const metricRows = (exposition: string): string[][] =>
  [...exposition.matchAll(/^# HELP (dfs_\S+) (.*)$/gm)].map(([, name, help]) => [code(name as string), help as string]);

/** Figures are read when they are scraped: what is only listed reads nothing of its node. */
const listed = (registry: Registry): string =>
  registry
    .getMetricsAsArray()
    .map(({ name, help }) => `# HELP ${name} ${help}`)
    .join("\n");

const answered = await gateway.call("GET", "/metrics");
await gateway.end();
const gatewayMetrics = await answered.text();

function metricTable(): string {
  const expositions = [
    listed(masterMetrics(undefined as never, () => null)),
    listed(workerMetrics({} as never)),
    gatewayMetrics,
  ];
  return markdown(["metric", "what it measures"], expositions.flatMap(metricRows));
}

export interface Table {
  /** The README that holds it. */
  readme: string;
  make(): string;
}

const inLeading = (machine: AnyStateMachine): Table => ({
  readme: "actors/master/leading/README.md",
  make: () => diagram(machine),
});

export const TABLES: Record<string, Table> = {
  routes: {
    readme: "gateway/rest/README.md",
    make: () => markdown(["request", "does", "takes"], routeRows()),
  },
  config: {
    readme: "actors/messages/README.md",
    make: () => markdown(["key", "as shipped", "allowed", "meaning"], configRows()),
  },
  errors: {
    readme: "actors/messages/README.md",
    make: () =>
      markdown(
        ["code", "status", "what to do"],
        Object.entries(ErrorCodes)
          .filter(([, { next }]) => next !== "")
          .map(([name, { status, next }]) => [code(name), String(status), next]),
      ),
  },
  messages: {
    readme: "actors/messages/README.md",
    make: () =>
      markdown(
        ["to", "message", "from", "what it does"],
        Object.entries(MESSAGE_FILES).flatMap(([to, files]) =>
          files
            .flatMap((file) => messagesOf(`actors/messages/${file}.ts`))
            .map(({ type, says }) => [to, code(type), sendersOf(type), says]),
        ),
      ),
  },
  commands: {
    readme: "actors/rules/decide/README.md",
    make: () =>
      markdown(
        ["command", "what it does", "since version"],
        messagesOf("actors/messages/commands.ts").map(({ type, says }) => [
          code(type),
          says,
          String(knownSince(type as Command["type"])),
        ]),
      ),
  },
  machines: {
    readme: "actors/README.md",
    make: () => markdown(["machine", "file", "states"], machineRows()),
  },
  metrics: { readme: "actors/README.md", make: metricTable },
  liveness: inLeading(livenessMachine),
  steward: inLeading(stewardMachine),
  repair: inLeading(repairMachine),
};

/** A table in its place: name, and what stands between its marks. */
const PLACE = /<!-- table: (\S+) -->\n([\s\S]*?)<!-- end -->/g;

export const tablesIn = (readme: string): Map<string, string> =>
  new Map([...readme.matchAll(PLACE)].map(([, name, body]) => [name as string, (body as string).trim()]));

/** @returns the text of a README with the tables that it holds as they should be */
export const withTables = (readme: string): string =>
  readme.replace(PLACE, (block, name: string) =>
    TABLES[name] ? `<!-- table: ${name} -->\n\n${TABLES[name].make()}\n\n<!-- end -->` : block,
  );
