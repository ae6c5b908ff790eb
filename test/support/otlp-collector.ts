/** An OpenTelemetry collector of a test: takes OTLP over HTTP with JSON, as nodes export it, and keeps the spans. */
import { until } from "./fair-time.ts";

interface Value {
  stringValue?: string;
  intValue?: number | string;
  doubleValue?: number;
  boolValue?: boolean;
}
interface Attribute {
  key: string;
  value: Value;
}
interface ExportedSpan {
  traceId: string;
  spanId: string;
  parentSpanId?: string;
  traceState?: string;
  name: string;
  kind: number;
  startTimeUnixNano: string;
  endTimeUnixNano: string;
  attributes?: Attribute[];
  events?: { name: string }[];
  status?: { code?: number; message?: string };
}
interface ExportRequest {
  resourceSpans: { resource: { attributes: Attribute[] }; scopeSpans: { spans: ExportedSpan[] }[] }[];
}

/** SPAN_KIND_… of OTLP. */
const KINDS = ["unspecified", "internal", "server", "client"];

export interface CollectedSpan {
  traceId: string;
  id: string;
  /** null: the trace begins here. */
  parent: string | null;
  name: string;
  kind: string;
  state: string;
  node: string;
  service: string;
  attributes: Record<string, unknown>;
  events: string[];
  isError: boolean;
}

const plain = ({ stringValue, intValue, doubleValue, boolValue }: Value): unknown =>
  stringValue ?? (intValue === undefined ? (doubleValue ?? boolValue) : Number(intValue));
const record = (attributes: Attribute[] = []): Record<string, unknown> =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, plain(value)]));

export class OtlpCollector {
  readonly #server: Bun.Server<undefined>;
  readonly spans: CollectedSpan[] = [];
  /** Headers of the requests that came. */
  readonly requests: Headers[] = [];

  constructor() {
    this.#server = Bun.serve({
      port: 0,
      hostname: "127.0.0.1",
      routes: {
        "/v1/traces": {
          POST: async (request) => {
            this.requests.push(request.headers);
            this.#take((await request.json()) as ExportRequest);
            return Response.json({});
          },
        },
      },
      fetch: () => new Response("no such signal", { status: 404 }),
    });
  }

  get url(): string {
    return `http://127.0.0.1:${this.#server.port}`;
  }

  #take({ resourceSpans }: ExportRequest): void {
    for (const { resource, scopeSpans } of resourceSpans) {
      const of = record(resource.attributes);
      for (const span of scopeSpans.flatMap(({ spans }) => spans))
        this.spans.push({
          traceId: span.traceId,
          id: span.spanId,
          parent: span.parentSpanId || null,
          name: span.name,
          kind: KINDS[span.kind] as string,
          state: span.traceState ?? "",
          node: String(of["service.instance.id"]),
          service: String(of["service.name"]),
          attributes: record(span.attributes),
          events: (span.events ?? []).map(({ name }) => name),
          isError: span.status?.code === 2,
        });
    }
  }

  trace(traceId: string): CollectedSpan[] {
    return this.spans.filter((span) => span.traceId === traceId);
  }

  /** Waits until `isWhole` holds for the spans of a trace, and all of them hang together. */
  async whole(traceId: string, isWhole: (spans: CollectedSpan[]) => boolean): Promise<Trace> {
    const describe = async (): Promise<string> => JSON.stringify(new Trace(this.trace(traceId)).lines(), null, 1);
    const isThere = (): boolean => {
      const spans = this.trace(traceId);
      return isWhole(spans) && new Trace(spans).roots().length === 1;
    };
    await until("the trace is whole", isThere, { pollMs: 50, describe });
    return new Trace(this.trace(traceId));
  }

  stop(): Promise<void> {
    return this.#server.stop(true);
  }
}

/** Spans by their parents. */
export class Trace {
  constructor(readonly spans: readonly CollectedSpan[]) {}

  named(name: string, node?: string): CollectedSpan[] {
    return this.spans.filter((span) => span.name === name && (node === undefined || span.node === node));
  }

  /** Names from the trace's beginning down to this span, each with its node. */
  way(span: CollectedSpan): string[] {
    const above = this.spans.find(({ id }) => id === span.parent);
    return [...(above ? this.way(above) : []), `${span.node} ${span.name}`];
  }

  /** Spans whose parent is no span of this trace. */
  roots(): CollectedSpan[] {
    const ids = new Set(this.spans.map(({ id }) => id));
    return this.spans.filter(({ parent }) => parent === null || !ids.has(parent));
  }

  lines(): string[] {
    return this.spans.map((span) => this.way(span).join(" > ")).sort();
  }
}
