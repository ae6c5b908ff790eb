import { afterAll, expect, test } from "bun:test";
import { ErrorCodes } from "../../actors/messages/errors.ts";
import type { OpenApiDocument } from "../../gateway/rest/openapi-document.ts";
import { restGateway } from "../support/rest-gateway.ts";

const { app, call, end } = await restGateway();
afterAll(end);
const document = (await (await call("GET", "/openapi/json")).json()) as OpenApiDocument;
const operations = Object.entries(document.paths).flatMap(([path, verbs]) =>
  Object.entries(verbs).map(([verb, operation]) => ({ name: `${verb.toUpperCase()} ${path}`, path, operation })),
);

test("every route is described, once, with an id of its own", () => {
  const routes = app.routes.map(
    ({ method, path }) => `${method} ${path.replace("*", "{path}").replace(":id", "{id}")}`,
  );
  expect(operations.map(({ name }) => name).toSorted()).toEqual([...new Set(routes)].toSorted());
  const ids = operations.map(({ operation }) => operation.operationId);
  expect(new Set(ids).size).toBe(ids.length);
});

test("operations say what OpenAPI 3.1 wants: path parameters, responses, known codes", () => {
  expect(document.openapi).toStartWith("3.1");
  for (const { name, path, operation } of operations) {
    const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, parameter]) => parameter as string);
    const declared = operation.parameters.filter((parameter) => parameter.in === "path");
    expect([name, declared.map((parameter) => parameter.name)]).toEqual([name, inPath]);
    expect(declared.every(({ required }) => required)).toBe(true);
    expect(operation.parameters.every(({ schema, description }) => schema && description)).toBe(true);
    expect(operation.summary.length).toBeGreaterThan(0);
    const statuses = Object.keys(operation.responses);
    expect(statuses.some((status) => /^20\d$/.test(status))).toBe(true);
    for (const [status, { description }] of Object.entries(operation.responses))
      if (Number(status) >= 400)
        for (const code of description.split(", "))
          expect(ErrorCodes[code as keyof typeof ErrorCodes].status).toBe(Number(status) as never);
  }
});

test("references lead somewhere", () => {
  const text = JSON.stringify(document);
  for (const [, name] of text.matchAll(/"\$ref":"#\/components\/schemas\/(\w+)"/g))
    expect(document.components.schemas).toHaveProperty(name as string);
});

test("the page names every route and code, and loads nothing", async () => {
  const response = await call("GET", "/openapi");
  const page = await response.text();
  expect(response.headers.get("content-type")).toStartWith("text/html");
  for (const { path } of operations) expect(page).toContain(`<code>${path}</code>`);
  for (const code of Object.keys(ErrorCodes)) expect(page).toContain(`id="${code}"`);
  expect(page).not.toMatch(/<script|<link|<img|src=/);
});
