/** The one place that assembles the doors of a gateway: the front door before all of them, then each with its routes. */
import { type AnyElysia, Elysia } from "elysia";
import { SERVER_OPTIONS } from "../actors/node/http/server-options.ts";
import { clientWaits } from "./console/client-waits.ts";
import type { Console } from "./console/console.ts";
import { consoleRoutes } from "./console/routes.ts";
import { servePage } from "./console/serve-page.ts";
import type { Gateway } from "./http/context.ts";
import { tokenDoor } from "./http/door.ts";
import { frontDoor } from "./http/front-door.ts";
import { patience } from "./http/prefer-wait.ts";
import { type RouteTable, routeTable } from "./http/route-table.ts";
import { GatewayMetrics } from "./rest/metrics.ts";
import { openApi } from "./rest/openapi.ts";
import { openApiDocument } from "./rest/openapi-document.ts";
import { restRoutes } from "./rest/routes.ts";

/** One router for all: Bun's own would answer some routes past the front door's refusals. */
const OPTIONS = { ...SERVER_OPTIONS, systemRouter: false } as const;

/** @param console null: nothing is recorded, and the console's routes say so */
export function createGatewayServer(gateway: Gateway, console: Console | null = null): AnyElysia {
  const { token, log } = gateway;
  const metrics = new GatewayMetrics(gateway);
  const doors = [tokenDoor("/", token, true), tokenDoor("/console", token, false)];
  let table: RouteTable | undefined;
  const routes = (): RouteTable => {
    table ??= routeTable(app.routes);
    return table;
  };
  const app: AnyElysia = new Elysia({ name: "gateway", ...OPTIONS })
    .use(frontDoor({ doors, routes, log, counter: metrics, isStopping: () => gateway.stopping }))
    .use(patience())
    .use(clientWaits(console?.waits ?? null))
    .use(restRoutes(gateway, metrics))
    .use(servePage())
    .use(consoleRoutes(console))
    .use(openApi(() => openApiDocument(app)));
  return app;
}
