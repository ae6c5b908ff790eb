/** What a measurement is given and what it gives back. */
import type { RealCluster } from "../support/real-cluster.ts";
import type { PeakWatch } from "./peak-watch.ts";
import type { Place, PlaceKind } from "./place.ts";
import type { Sizes } from "./sizes.ts";

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

export interface Session {
  place: Place;
  cluster: RealCluster;
  sizes: Sizes;
  peaks: PeakWatch;
  /** Tells the person who waits what is going on. */
  say(line: string): void;
}

export interface Measurement {
  /** For `--only`. */
  name: string;
  title: string;
  /** `"memory"`: in memory alone, or on disk where there is no memory-backed folder. */
  where: "both" | "disk" | "memory";
  run(session: Session): Promise<Figure[]>;
}

/** Fills in the place. */
export const figuresOf = ({ place }: Session, ...figures: Omit<Figure, "place">[]): Figure[] =>
  figures.map((figure) => ({ ...figure, place: place.kind }));
