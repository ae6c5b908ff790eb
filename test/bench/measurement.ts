/** What a measurement is given and what it gives back. */
import type { ClusterOptions, RealCluster } from "../support/real-cluster.ts";
import type { PeakWatch } from "./peak-watch.ts";
import type { Place, PlaceKind } from "./place.ts";
import type { Sizes } from "./sizes.ts";

/** The nodes that `config.json` lists. */
export const AS_SHIPPED = { masters: 3, workers: 5, gateways: 1 } satisfies ClusterOptions;

export interface Figure {
  /** Stable, for the JSON file and the aims; the same in both places. */
  id: string;
  place: PlaceKind;
  /** What a person reads. */
  label: string;
  /** null: this system does not tell. */
  value: number | null;
  unit: string;
  /** What must be known to read the value right. */
  note?: string;
}

interface AnySession {
  place: Place;
  sizes: Sizes;
  /** Tells the person who waits what is going on. */
  say(line: string): void;
}

/** Of a measurement in the cluster that others of the same place use too. */
export interface Session extends AnySession {
  cluster: RealCluster;
  peaks: PeakWatch;
}

/** Of a measurement that needs clusters of its own making. */
export interface ApartSession extends AnySession {
  /** Starts one cluster for each of `options`, all up at once, for this one piece of work, and ends them. */
  withClusters<T, O extends ClusterOptions[]>(
    options: [...O],
    work: (...clusters: { [K in keyof O]: RealCluster }) => Promise<T>,
  ): Promise<T>;
}

interface AnyMeasurement {
  /** For `--only`. */
  name: string;
  title: string;
  /** `"memory"`: in memory alone, or on disk where there is no memory-backed folder. */
  where: "both" | "disk" | "memory";
  /** Too long to be part of every run. */
  onlyWhenNamed?: boolean;
}
export interface SharedMeasurement extends AnyMeasurement {
  run(session: Session): Promise<Figure[]>;
}
export interface ApartMeasurement extends AnyMeasurement {
  runApart(session: ApartSession): Promise<Figure[]>;
}
export type Measurement = SharedMeasurement | ApartMeasurement;

/** Fills in the place. */
export const figuresOf = ({ place }: AnySession, ...figures: Omit<Figure, "place">[]): Figure[] =>
  figures.map((figure) => ({ ...figure, place: place.kind }));
