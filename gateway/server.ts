/** The gateway's REST server, assembled: the front door, then a file per verb. */
import { type AnyElysia, Elysia } from "elysia";
import { SERVER_OPTIONS } from "../actors/node/messaging/mailbox.ts";
import { clientWaits } from "./console/client-waits.ts";
import { consoleRoutes } from "./console/routes.ts";
import { servePage } from "./console/serve-page.ts";
import type { Gateway } from "./http/context.ts";
import { frontDoor } from "./http/front-door.ts";
import { patience } from "./http/prefer-wait.ts";
import { type RouteTable, routeTable } from "./http/route-table.ts";
import { clusterState } from "./rest/cluster-state.ts";
import { deleteObject } from "./rest/delete-object.ts";
import { formUpload } from "./rest/form-upload.ts";
import { getObject } from "./rest/get-object.ts";
import { health } from "./rest/health.ts";
import { listObjects } from "./rest/list-objects.ts";
import { createMetrics, metricsRoute } from "./rest/metrics.ts";
import { moveObject } from "./rest/move-object.ts";
import { openApi } from "./rest/openapi.ts";
import { openApiDocument } from "./rest/openapi-document.ts";
import { putObject } from "./rest/put-object.ts";
import { resumableUploads } from "./rest/uploads/routes.ts";

/** One router for all: Bun's own would answer some routes past the front door's refusals. */
const OPTIONS = { ...SERVER_OPTIONS, systemRouter: false } as const;

export function createRestServer(gateway: Gateway): AnyElysia {
  const metrics = createMetrics(gateway);
  let table: RouteTable | undefined;
  const app: AnyElysia = new Elysia({ name: "rest", ...OPTIONS })
    .use(
      frontDoor(gateway, metrics, () => {
        table ??= routeTable(app.routes);
        return table;
      }),
    )
    .use(patience())
    .use(clientWaits(() => gateway.console?.waits))
    .use(putObject(gateway))
    .use(getObject(gateway))
    .use(deleteObject(gateway))
    .use(moveObject(gateway))
    .use(listObjects(gateway))
    .use(formUpload(gateway))
    .use(resumableUploads(gateway))
    .use(clusterState(gateway))
    .use(health(gateway))
    .use(metricsRoute(metrics))
    .use(servePage())
    .use(consoleRoutes(gateway))
    .use(openApi(() => openApiDocument(app)));
  return app;
}
