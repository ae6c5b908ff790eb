/**
 * Figures for Prometheus whose values are read when they are scraped. A name means one thing: each role has its prefix,
 * `dfs_master_`, `dfs_worker_`, `dfs_gateway_`.
 */
import { Counter, Gauge, type Registry } from "prom-client";

/** One value of a figure that has labels. */
export interface Labelled<Label extends string> {
  labels: Record<Label, string | number>;
  value: number;
}

/** A value that rises and falls. */
export function gaugeOf(registry: Registry, name: string, help: string, read: () => number): void {
  new Gauge({
    name,
    help,
    registers: [registry],
    collect() {
      this.set(read());
    },
  });
}

/** A sum since the start of the process, which never falls. Its name ends in `_total`. */
export function counterOf(registry: Registry, name: string, help: string, read: () => number): void {
  new Counter({
    name,
    help,
    registers: [registry],
    collect() {
      this.reset();
      this.inc(read());
    },
  });
}

/** A gauge with labels. Labels that `read` leaves out are absent from the scrape. */
export function gaugesOf<Label extends string>(
  registry: Registry,
  name: string,
  help: string,
  labelNames: readonly Label[],
  read: () => Iterable<Labelled<Label>>,
): void {
  new Gauge<Label>({
    name,
    help,
    labelNames,
    registers: [registry],
    collect() {
      this.reset();
      for (const { labels, value } of read()) this.set(labels, value);
    },
  });
}

/** A counter with labels. */
export function countersOf<Label extends string>(
  registry: Registry,
  name: string,
  help: string,
  labelNames: readonly Label[],
  read: () => Iterable<Labelled<Label>>,
): void {
  new Counter<Label>({
    name,
    help,
    labelNames,
    registers: [registry],
    collect() {
      this.reset();
      for (const { labels, value } of read()) this.inc(labels, value);
    },
  });
}
