/** The routes that describe the others: a document for programs, a page without script or internet for people. */
import { Type } from "@sinclair/typebox";
import { Elysia } from "elysia";
import { SERVER_OPTIONS } from "../../actors/node/http/server-options.ts";
import { describe, NO_QUERY } from "../http/describe.ts";
import { readQuery } from "../http/query.ts";
import type { OpenApiDocument } from "./openapi-document.ts";
import { openApiPage } from "./openapi-page.ts";

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
            "content-security-policy":
              "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
            "x-content-type-options": "nosniff",
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
