/** The OpenAPI document, made from the routes themselves, and a page that shows it without script and without internet. */
import { Type } from "@sinclair/typebox";
import { type AnyElysia, Elysia } from "elysia";
import { ErrorCodes } from "../../actors/messages/errors.ts";
import { SERVER_OPTIONS } from "../../actors/node/mailbox.ts";
import { describe, NO_QUERY } from "./describe.ts";
import { openApiPage } from "./openapi-page.ts";
import { Problem } from "./problem.ts";
import { readQuery } from "./query.ts";
import { patternOf } from "./route-table.ts";

export interface Operation {
  summary: string;
  description?: string;
  tags: string[];
  operationId: string;
  parameters: { name: string; in: string; required: boolean; description?: string; schema: object }[];
  requestBody?: { required: boolean; content: Record<string, { schema: object }> };
  responses: Record<string, { description: string; content?: Record<string, { schema: object }> }>;
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

/** @param document asked for at each request: the routes are known only when all are assembled */
export const openApi = (document: () => OpenApiDocument) =>
  new Elysia(SERVER_OPTIONS)
    .get(
      "/openapi/json",
      ({ request }) => {
        readQuery(request.url, NO_QUERY);
        return Response.json(document());
      },
      {
        detail: describe({
          query: NO_QUERY,
          summary: "This description, as OpenAPI 3.1",
          tag: "description",
          responses: {
            200: { description: "the document", content: { "application/json": Type.Object({}) } },
          },
          errors: [],
        }),
      },
    )
    .get(
      "/openapi",
      () =>
        new Response(openApiPage(document()), {
          headers: {
            "content-type": "text/html; charset=utf-8",
            "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
          },
        }),
      {
        detail: describe({
          query: NO_QUERY,
          summary: "This description, for people",
          tag: "description",
          responses: { 200: { description: "a page", content: { "text/html": Type.String() } } },
          errors: [],
        }),
      },
    )
    .get(
      "/",
      () =>
        Response.json({
          files: "/files",
          uploads: "/uploads",
          cluster: "/cluster",
          health: ["/health/live", "/health/ready", "/health/stop?worker={id}"],
          metrics: "/metrics",
          description: ["/openapi", "/openapi/json"],
        }),
      {
        detail: describe({
          query: NO_QUERY,
          summary: "What there is",
          tag: "description",
          responses: { 200: { description: "links", content: { "application/json": Type.Object({}) } } },
          errors: [],
        }),
      },
    );
