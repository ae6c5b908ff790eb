/** The gateway's REST server, assembled: the front door, then a file per verb. */
import { type AnyElysia, Elysia } from "elysia";
import { SERVER_OPTIONS } from "../../actors/node/mailbox.ts";
import { clientWaits } from "../console/client-waits.ts";
import { consoleRoutes } from "../console/routes.ts";
import { servePage } from "../console/serve-page.ts";
import { clusterState } from "./cluster-state.ts";
import type { Gateway } from "./context.ts";
import { deleteObject } from "./delete-object.ts";
import { formUpload } from "./form-upload.ts";
import { frontDoor } from "./front-door.ts";
import { getObject } from "./get-object.ts";
import { health } from "./health.ts";
import { listObjects } from "./list-objects.ts";
import { createMetrics, metricsRoute } from "./metrics.ts";
import { moveObject } from "./move-object.ts";
import { openApi } from "./openapi.ts";
import { openApiDocument } from "./openapi-document.ts";
import { patience } from "./patience.ts";
import { putObject } from "./put-object.ts";
import { type RouteTable, routeTable } from "./route-table.ts";
import { resumableUploads } from "./uploads/routes.ts";

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
