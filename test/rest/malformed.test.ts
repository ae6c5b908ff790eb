/** Odd requests by a client that may do everything: the handlers themselves, on a real socket. */
import { afterAll, expect, test } from "bun:test";
import type { OpenApiDocument } from "../../gateway/rest/openapi-document.ts";
import { freePorts } from "../support/free-ports.ts";
import { SEED, seeded } from "../support/random.ts";
import { rawRequest } from "../support/raw-request.ts";
import { restGateway } from "../support/rest-gateway.ts";
import { strangeRequest } from "../support/strange-requests.ts";

const gateway = restGateway();
const url = gateway.listen(freePorts(1)[0] as number);
afterAll(() => gateway.stop());

test(`S9. 3,000 malformed requests by a client that may do everything: never 500  SEED=${SEED}`, async () => {
  const random = seeded(SEED);
  const { paths } = (await (await gateway.call("GET", "/openapi/json")).json()) as OpenApiDocument;
  const aims = Object.entries(paths).flatMap(([pattern, operations]) =>
    Object.keys(operations).map((verb) => ({
      method: verb.toUpperCase(),
      path: pattern.replace("{path}", "a/b").replace("{id}", "1"),
      body: '{"rename": "c", "path": "p", "size": 1, "mode": "active", "meta": {"__proto__": ""}}',
    })),
  );
  for (let n = 0; n < 3000; n++) {
    const request = strangeRequest(aims[n % aims.length] as (typeof aims)[number], random, true);
    const { status, text } = await rawRequest(url, request);
    expect([request, status, status === 500 || text.includes("x-dfs-error: INTERNAL")]).toEqual([
      request,
      status,
      false,
    ]);
  }
  expect((await gateway.call("GET", "/health/live")).status).toBe(200);
}, 300_000);
