/**
 * Sends spans to an OpenTelemetry collector, by OTLP over HTTP with JSON. Off unless the environment names a collector;
 * then OpenTelemetry's own packages are loaded, and read the other `OTEL_…` variables themselves. Export never delays a
 * request: spans wait in a bounded queue (OTEL_BSP_MAX_QUEUE_SIZE), and what finds it full is dropped.
 */
import type * as Api from "@opentelemetry/api";
import type { Logger } from "../log.ts";
import { type Attributes, type SpanKind, setTracer, type TracedSpan, type Tracer } from "./span.ts";
import type { SpanId } from "./traceparent.ts";

type Environment = Record<string, string | undefined>;

/** A stop waits no longer than this for what is still to be sent. */
const FLUSH_MS = 2000;
const COMPLAIN_EVERY_MS = 60_000;
const VERSION = "0.1.0";

let shutDown: (() => Promise<void>) | null = null;

/** Whether the environment asks for spans: by a collector's address, or by OTEL_TRACES_EXPORTER=otlp. */
export function wantsTraces(env: Environment): boolean {
  if (env.OTEL_SDK_DISABLED?.trim().toLowerCase() === "true") return false;
  const exporters = env.OTEL_TRACES_EXPORTER?.split(",").map((name) => name.trim()) ?? [];
  if (exporters.some((name) => name !== "")) return exporters.includes("otlp");
  return Boolean(env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT || env.OTEL_EXPORTER_OTLP_ENDPOINT);
}

/** Called once, before the node listens. */
export async function startTracing(
  { nodeId, role }: { nodeId: string; role: "master" | "worker" | "gateway" },
  log: Logger,
  env: Environment = Bun.env,
): Promise<void> {
  if (!wantsTraces(env)) return;
  const [api, sdk, { OTLPTraceExporter }, resources] = await Promise.all([
    import("@opentelemetry/api"),
    import("@opentelemetry/sdk-trace-base"),
    import("@opentelemetry/exporter-trace-otlp-http"),
    import("@opentelemetry/resources"),
  ]);
  api.diag.setLogger(complaints(log), { logLevel: api.DiagLogLevel.WARN, suppressOverrideMessage: true });
  const ours = { "service.name": `dfs-${role}`, "service.namespace": "dfs", "service.version": VERSION };
  const resource = resources
    .defaultResource()
    .merge(resources.resourceFromAttributes({ ...ours, "service.instance.id": nodeId }))
    .merge(resources.detectResources({ detectors: [resources.envDetector] }));
  const spanProcessors = [new sdk.BatchSpanProcessor(new OTLPTraceExporter())];
  const provider = new sdk.BasicTracerProvider({ resource, spanProcessors });
  setTracer(new OpenTelemetryTracer(api, provider.getTracer("dfs", VERSION)));
  shutDown = () => provider.shutdown();
  log.info({ event: "tracing", role }, "spans are sent to an OpenTelemetry collector");
}

/** Sends what is still waiting, within a bound. */
export async function stopTracing(): Promise<void> {
  const flushed = shutDown?.().catch(() => {});
  shutDown = null;
  setTracer(null);
  if (flushed) await Promise.race([flushed, Bun.sleep(FLUSH_MS)]);
}

/** A collector that does not answer is named once a minute. */
function complaints(log: Logger): Api.DiagLogger {
  let complainedAt = Number.NEGATIVE_INFINITY;
  const complain = (message: string, ...details: unknown[]): void => {
    if (performance.now() - complainedAt < COMPLAIN_EVERY_MS) return;
    complainedAt = performance.now();
    log.warn({ event: "spans-not-sent", reason: [message, ...details].map(String).join(" ").slice(0, 500) }, "tracing");
  };
  const silent = (): void => {};
  return { error: complain, warn: complain, info: silent, debug: silent, verbose: silent };
}

class OpenTelemetryTracer implements Tracer {
  readonly #api: typeof Api;
  readonly #tracer: Api.Tracer;

  constructor(api: typeof Api, tracer: Api.Tracer) {
    this.#api = api;
    this.#tracer = tracer;
  }

  begin(name: string, kind: SpanKind, parent: SpanId | undefined): TracedSpan {
    const { ROOT_CONTEXT, SpanKind: Kind, trace } = this.#api;
    const kinds = { client: Kind.CLIENT, server: Kind.SERVER, internal: Kind.INTERNAL };
    const within = parent ? trace.setSpanContext(ROOT_CONTEXT, this.#contextOf(parent)) : ROOT_CONTEXT;
    return new OpenTelemetrySpan(this.#api, this.#tracer.startSpan(name, { kind: kinds[kind] }, within));
  }

  #contextOf({ traceId, spanId, flags, state, isRemote }: SpanId): Api.SpanContext {
    const traceState = state === null ? undefined : this.#api.createTraceState(state);
    return { traceId, spanId, traceFlags: flags, isRemote, traceState };
  }
}

class OpenTelemetrySpan implements TracedSpan {
  readonly id: SpanId;
  readonly #api: typeof Api;
  readonly #span: Api.Span;

  constructor(api: typeof Api, span: Api.Span) {
    this.#api = api;
    this.#span = span;
    const { traceId, spanId, traceFlags, traceState } = span.spanContext();
    this.id = { traceId, spanId, flags: traceFlags, state: traceState?.serialize() || null, isRemote: false };
  }

  set(attributes: Attributes): void {
    this.#span.setAttributes(attributes);
  }

  rename(name: string): void {
    this.#span.updateName(name);
  }

  event(name: string, attributes?: Attributes): void {
    this.#span.addEvent(name, attributes);
  }

  end(error?: unknown): void {
    if (error !== undefined) {
      const { code, message } = error as { code?: unknown; message?: unknown };
      this.#span.setAttribute("error.type", typeof code === "string" ? code : "INTERNAL");
      this.#span.setStatus({ code: this.#api.SpanStatusCode.ERROR, message: String(message ?? error) });
    }
    this.#span.end();
  }
}
