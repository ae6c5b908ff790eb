/**
 * Which workers may share a chunk. Drawn freely, three of a hundred workers make 161,700 combinations; soon every one of
 * them holds chunks, and whichever three die at once take some chunk's last copies along. A *layout* is a short sequence
 * of workers, each the leader of a few; chunks go to the first ones of a layout that can take them, so the combinations in
 * use are some eight per worker. Pure: the same workers and seed give the same layouts, on every leader.
 *
 * Workers stand on a few rings, at places that come from their names alone. A layout begins at one of them and goes round
 * its ring, so one who joins or leaves changes only the layouts around its own places, and everybody's chunks stay in sets
 * that are in use.
 */
import type { NodeId } from "../../messages/primitives.ts";

/** So many workers of a layout can be passed over, less those that it is for, before another way is needed. */
const MOST_IN_LAYOUT = 16;
/** Layouts per worker. Each gives a worker four neighbours at three copies: so many share the work when it dies. */
const RINGS = 8;

/** Evenness is reckoned for so many copies, the usual number. */
const USUAL_COPIES = 3;
const WEIGHING_ROUNDS = 20;
/** A layout is at most this much likelier than the usual one, or less likely. */
const MOST_WEIGHT = 8;

export interface Layout {
  /** The next one is always of a zone that the fewest before it are in. */
  readonly workerIds: readonly NodeId[];
  /** How often it is to be drawn, so that equal workers get alike though some stand nearer to others on their rings. */
  readonly weight: number;
}

interface Member {
  id: NodeId;
  zone: string;
}

export class Layouts {
  readonly #ledBy = new Map<NodeId, Layout[]>();
  readonly #with = new Map<NodeId, Layout[]>();
  readonly #leads = new Map<NodeId, number>();

  /** @param members each id once */
  constructor(members: readonly Member[], seed: number) {
    const zoneSizes = new Map<string, number>();
    for (const { zone } of members) zoneSizes.set(zone, (zoneSizes.get(zone) ?? 0) + 1);
    const layouts: NodeId[][] = [];
    for (let n = 0; n < RINGS; n++) {
      const ring = [...members].sort(byPlace(members, seed * RINGS + n));
      for (const start of ring.keys()) layouts.push(layoutFrom(ring, start, zoneSizes));
    }
    const weights = evenWeights(layouts);
    for (const [n, workerIds] of layouts.entries()) this.#add({ workerIds, weight: weights[n] as number });
  }

  #add(layout: Layout): void {
    const { workerIds, weight } = layout;
    const [leader = ""] = workerIds;
    append(this.#ledBy, leader, layout);
    this.#leads.set(leader, (this.#leads.get(leader) ?? 0) + weight);
    for (const id of workerIds) append(this.#with, id, layout);
  }

  /** How often a layout that this worker leads is to be drawn. */
  weightOf(leader: NodeId): number {
    return this.#leads.get(leader) ?? 0;
  }

  /** Those that begin with this worker. */
  ledBy(id: NodeId): readonly Layout[] {
    return this.#ledBy.get(id) ?? [];
  }

  /** Those that all of these workers are part of; if there is none, those that one of them leads. */
  around(ids: readonly NodeId[]): readonly Layout[] {
    const lists = ids.map((id) => this.#with.get(id) ?? []).sort((a, b) => a.length - b.length);
    const together = (lists[0] ?? []).filter((layout) => ids.every((id) => layout.workerIds.includes(id)));
    return together.length > 0 ? together : ids.flatMap((id) => this.ledBy(id));
  }
}

/** Goes round the ring again and again, each time taking the next worker of every zone that has one left. */
function layoutFrom(ring: readonly Member[], start: number, zoneSizes: ReadonlyMap<string, number>): NodeId[] {
  const layout: NodeId[] = [];
  const passed = new Set<number>();
  const most = Math.min(MOST_IN_LAYOUT, ring.length);
  for (let turn = 0; layout.length < most; turn++) {
    const zones = new Set([...zoneSizes].filter(([, size]) => size > turn).map(([zone]) => zone));
    for (let at = 0; zones.size > 0 && layout.length < most; at++) {
      const { id, zone } = ring[(start + at) % ring.length] as Member;
      if (passed.has(at) || !zones.delete(zone)) continue;
      passed.add(at);
      layout.push(id);
    }
  }
  return layout;
}

/** Weighs each layout anew, again and again, by how much too often its workers would be drawn. */
function evenWeights(layouts: readonly NodeId[][]): number[] {
  const usual = layouts.map((workerIds) => workerIds.slice(0, USUAL_COPIES));
  let weights = layouts.map(() => 1);
  for (let round = 0; round < WEIGHING_ROUNDS; round++) {
    const shares = new Map<NodeId, number>();
    let sum = 0;
    for (const [n, workerIds] of usual.entries())
      for (const id of workerIds) {
        shares.set(id, (shares.get(id) ?? 0) + (weights[n] as number));
        sum += weights[n] as number;
      }
    const even = sum / Math.max(1, shares.size);
    weights = usual.map((workerIds, n) => {
      const push = workerIds.reduce((product, id) => product * Math.sqrt(even / (shares.get(id) as number)), 1);
      return Math.min(MOST_WEIGHT, Math.max(1 / MOST_WEIGHT, (weights[n] as number) * push));
    });
  }
  return weights;
}

function byPlace(members: readonly Member[], ring: number): (a: Member, b: Member) => number {
  const places = new Map(members.map(({ id }) => [id, scattered(id, ring)]));
  const placeOf = ({ id }: Member): number => places.get(id) as number;
  return (a, b) => placeOf(a) - placeOf(b) || (a.id < b.id ? -1 : 1);
}

/** A number below 2^32 that names alike share nothing in (FNV-1a, then the finalizer of MurmurHash3). */
function scattered(text: string, seed: number): number {
  let hash = 0x811c9dc5 ^ Math.imul(seed + 1, 0x9e3779b1);
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return (hash ^ (hash >>> 16)) >>> 0;
}

function append<K, V>(lists: Map<K, V[]>, key: K, value: V): void {
  const list = lists.get(key);
  if (list) list.push(value);
  else lists.set(key, [value]);
}
