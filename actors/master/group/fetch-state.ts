/** The whole state of the leader, for a master that has none: asks the masters of config.json in turn until one leads. */
import type { Config } from "../../messages/config.ts";
import { refusalOf } from "../../node/http/answers.ts";
import { stream } from "../../node/http/request.ts";
import type { Identity } from "../../node/identity/identity.ts";
import type { Logger } from "../../node/log.ts";

const PATH = "/raft/backup";
const ASK_EVERY_MS = 500;
const COMPLAIN_EVERY_MS = 10_000;

export async function leadersState(
  config: Pick<Config, "masters">,
  nodeId: string,
  identity: Identity,
  log: Logger,
): Promise<AsyncIterable<Uint8Array>> {
  let complainedAt = performance.now();
  for (;;) {
    for (const { id, url } of config.masters) {
      if (id === nodeId) continue;
      const authorization = identity.credentials.sign("GET", PATH, "");
      const response = await stream(url + PATH, { headers: { authorization } }).catch(() => null);
      if (response?.ok && response.body) return response.body as ReadableStream<Uint8Array>;
      if (response && performance.now() - complainedAt > COMPLAIN_EVERY_MS) {
        complainedAt = performance.now();
        log.warn(
          { event: "no-state-yet", asked: id, err: await refusalOf(response, url) },
          "no leader gives its state",
        );
      } else await response?.body?.cancel();
    }
    await Bun.sleep(ASK_EVERY_MS);
  }
}
