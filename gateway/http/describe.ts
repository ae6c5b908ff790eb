/** How a route says what it takes and answers: one shape, which becomes its entry in the OpenAPI document. */
import { type TObject, type TSchema, Type } from "@sinclair/typebox";
import { type ErrorCode, ErrorCodes } from "../../actors/messages/errors.ts";
import { PROBLEM_TYPE } from "./problem.ts";

export interface RouteDescription {
  summary: string;
  description?: string;
  /** Answered to anyone, without a token; every other route asks for it. */
  public?: true;
  tag: "files" | "uploads" | "cluster" | "health" | "description";
  /** Path parameters: name → meaning. */
  path?: Record<string, string>;
  /** What `readQuery` checks. */
  query: TObject;
  /** Name → meaning. */
  headers?: Record<string, string>;
  /** Content type → schema of the request body. */
  body?: Record<string, TSchema | typeof BINARY>;
  /** Status → what it means, with its content if it has any. */
  responses: Record<number, { description: string; content?: Record<string, TSchema | typeof BINARY> }>;
  errors: readonly ErrorCode[];
}

export const NO_QUERY = Type.Object({}, { additionalProperties: false });

/** Bytes as they are. */
export const BINARY = { type: "string", format: "binary" } as const;

/** Any route may answer these. */
const EVERYWHERE = ["UNAUTHENTICATED", "WRONG_HOST", "METHOD_NOT_ALLOWED", "INTERNAL"] as const satisfies ErrorCode[];
/** Any route that asks the masters may answer these. */
export const FROM_MASTERS = [
  "NO_LEADER",
  "CLOCKS_DIFFER",
  "SECRETS_DIFFER",
  "NODES_DISAGREE",
  "TIMEOUT",
] as const satisfies ErrorCode[];
/** Any change may answer these. */
export const FROM_CHANGES = [...FROM_MASTERS, "OUTCOME_UNKNOWN", "CROSS_SITE"] as const satisfies ErrorCode[];

/** Any route that takes JSON may answer these. */
export const FROM_JSON = [
  "INVALID_BODY",
  "INVALID_HEADER",
  "BODY_INCOMPLETE",
  "DIGEST_MISMATCH",
  "PAYLOAD_TOO_LARGE",
  "UNSUPPORTED_MEDIA_TYPE",
] as const satisfies ErrorCode[];

const contentOf = (content: Record<string, TSchema | typeof BINARY>) =>
  Object.fromEntries(Object.entries(content).map(([type, schema]) => [type, { schema }]));

/** @returns what Elysia's `detail` takes, an OpenAPI operation */
export function describe(route: RouteDescription) {
  const responses: Record<string, unknown> = {};
  for (const [status, { description, content }] of Object.entries(route.responses))
    responses[status] = { description, ...(content ? { content: contentOf(content) } : {}) };
  const errors = [...new Set<ErrorCode>([...route.errors, ...EVERYWHERE])];
  for (const [status, codes] of Map.groupBy(errors, (code) => ErrorCodes[code].status))
    responses[status] = {
      description: codes.join(", "),
      content: {
        [PROBLEM_TYPE]: {
          schema: {
            allOf: [
              { $ref: "#/components/schemas/Problem" },
              { type: "object", properties: { code: { type: "string", enum: codes } } },
            ],
          },
        },
      },
    };
  return {
    summary: route.summary,
    ...(route.description ? { description: route.description } : {}),
    tags: [route.tag],
    ...(route.public ? { security: [] } : {}),
    parameters: [
      ...Object.entries(route.path ?? {}).map(([name, description]) => ({
        name,
        in: "path" as const,
        required: true,
        description,
        schema: { type: "string" as const },
      })),
      ...Object.entries(route.query.properties).map(([name, schema]) => ({
        name,
        in: "query" as const,
        required: route.query.required?.includes(name) ?? false,
        description: String(schema.description ?? ""),
        schema,
      })),
      ...Object.entries(route.headers ?? {}).map(([name, description]) => ({
        name,
        in: "header" as const,
        required: false,
        description,
        schema: { type: "string" as const },
      })),
    ],
    ...(route.body ? { requestBody: { required: true, content: contentOf(route.body) } } : {}),
    responses: responses as Record<string, { description: string }>,
  };
}

export const FILE_PATH = {
  path: "UTF-8, percent-encoded; / and %2F both separate segments",
} as const;
export const IDEMPOTENCY_KEY = {
  "Idempotency-Key":
    "1 to 255 visible ASCII characters; the same key again has no second effect and gets the same answer",
} as const;
