import type { Config } from "../../actors/messages/config.ts";
import { checkConfig } from "../../actors/node/config.ts";
import { serve } from "../../actors/node/http/server-options.ts";
import { createLogger } from "../../actors/node/log.ts";
import configJson from "../../config.json";
import type { Gateway } from "../../gateway/http/context.ts";
import type { Backend } from "../../gateway/ports/backend.ts";
import { createGatewayServer } from "../../gateway/server.ts";
import { bytesIn, pathsIn, removeAll } from "./contents.ts";
import { GatewayCluster } from "./gateway-cluster.ts";
import { type LooseBackend, looseBackend } from "./loose-backend.ts";

const SMALL = { blockSizeBytes: 4096, chunkSizeBytes: 65536, inlineChunkBytes: 4096, logLevel: "silent" };

/** Over a cluster of its own, which `end` takes away; `clear` takes away all that tests have left in it. */
export async function restGateway({ token, config = {} }: { token?: string; config?: Partial<Config> } = {}) {
  const { tinyFileBytes } = configJson;
  const cluster = await new GatewayCluster({ workers: 3, config: { tinyFileBytes, ...config } }).up();
  const data: LooseBackend = looseBackend(cluster.data);
  const rest = restGatewayOver(data, { token });
  const end = async (): Promise<void> => {
    await rest.stop();
    await cluster.stop();
  };
  return {
    ...rest,
    /** Another door to the same cluster. */
    door: (options: { token?: string }) => restGatewayOver(data, options),
    worker: (id: string) => cluster.worker(id),
    paths: () => pathsIn(cluster.data),
    bytesOf: (path: string) => bytesIn(cluster.data, path),
    clear: () => {
      data.restore();
      return removeAll(cluster.data);
    },
    end,
    [Symbol.asyncDispose]: end,
  };
}
export type RestGateway = Awaited<ReturnType<typeof restGateway>>;

export function restGatewayOver<D extends Backend>(data: D, options: { token?: string } = {}) {
  const config = checkConfig({ ...configJson, ...SMALL });
  const gateway: Gateway = {
    id: "gateway-1",
    config,
    backend: data,
    log: createLogger("gateway-1", config.logLevel),
    token: options.token ?? null,
    stopping: false,
  };
  const app = createGatewayServer(gateway);
  return {
    gateway,
    data,
    app,
    call: (method: string, path: string, init: Omit<RequestInit, "method"> = {}): Promise<Response> =>
      app.handle(new Request(`http://localhost${path}`, { method, ...init })),
    /** @returns the URL; `port` must be free */
    listen(port: number): string {
      const url = `http://127.0.0.1:${port}`;
      serve(app, url);
      return url;
    },
    stop: () => app.server?.stop(true),
  };
}

/** The problem document of an answer. */
export const problemOf = async (response: Response) =>
  (await response.json()) as { code: string; status: number; detail: string; next: string } & Record<string, unknown>;
