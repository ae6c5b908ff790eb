/** The routes of the REST door, a file for each verb. */
import { Elysia } from "elysia";
import { SERVER_OPTIONS } from "../../actors/node/http/server-options.ts";
import type { Gateway } from "../http/context.ts";
import { clusterMasters } from "./cluster-masters.ts";
import { clusterState } from "./cluster-state.ts";
import { deleteObject } from "./delete-object.ts";
import { formUpload } from "./form-upload.ts";
import { getObject } from "./get-object.ts";
import { health } from "./health.ts";
import { listObjects } from "./list-objects.ts";
import { type GatewayMetrics, metricsRoute } from "./metrics.ts";
import { moveObject } from "./move-object.ts";
import { putObject } from "./put-object.ts";
import { resumableUploads } from "./uploads/routes.ts";

export const restRoutes = (gateway: Gateway, metrics: GatewayMetrics) =>
  new Elysia({ name: "rest", ...SERVER_OPTIONS })
    .use(putObject(gateway))
    .use(getObject(gateway))
    .use(deleteObject(gateway))
    .use(moveObject(gateway))
    .use(listObjects(gateway))
    .use(formUpload(gateway))
    .use(resumableUploads(gateway))
    .use(clusterMasters(gateway))
    .use(clusterState(gateway))
    .use(health(gateway))
    .use(metricsRoute(metrics));
