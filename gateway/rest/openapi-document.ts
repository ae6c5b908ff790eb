/** The OpenAPI document, made from the routes themselves. */
import type { AnyElysia } from "elysia";
import { ErrorCodes } from "../../actors/messages/errors.ts";
import { Problem } from "../http/problem.ts";
import { patternOf } from "../http/route-table.ts";

export interface Operation {
  summary: string;
  description?: string;
  tags: string[];
  operationId: string;
  parameters: { name: string; in: string; required: boolean; description?: string; schema: object }[];
  requestBody?: { required: boolean; content: Record<string, { schema: object }> };
  responses: Record<string, { description: string; content?: Record<string, { schema: object }> }>;
  /** Empty: open to all. Absent: as the document says for all routes. */
  security?: Record<string, string[]>[];
}

export interface OpenApiDocument {
  openapi: string;
  info: { title: string; version: string; description: string };
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, object>; securitySchemes: Record<string, object> };
  security: Record<string, string[]>[];
  "x-error-codes": Record<string, { status: number; next: string }>;
}

interface ListedRoute {
  method: string;
  path: string;
  hooks: { detail?: Omit<Operation, "operationId"> };
}

export function openApiDocument(app: AnyElysia): OpenApiDocument {
  const paths: OpenApiDocument["paths"] = {};
  for (const { method, path, hooks } of app.routes as unknown as ListedRoute[]) {
    if (!hooks.detail) continue;
    const pattern = patternOf(path);
    paths[pattern] ??= {};
    paths[pattern][method.toLowerCase()] = {
      operationId: `${method.toLowerCase()}${pattern.replace(/[^A-Za-z]+(.)?/g, (_, c = "") => c.toUpperCase())}`,
      ...hooks.detail,
    };
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Distributed file system: gateway",
      version: "1",
      description: "Files of any size over REST. Every refusal is an RFC 9457 problem document with a stable code.",
    },
    paths,
    components: {
      schemas: { Problem },
      securitySchemes: { token: { type: "http", scheme: "bearer", description: "if the gateway was given one" } },
    },
    security: [{}, { token: [] }],
    "x-error-codes": ErrorCodes,
  };
}
