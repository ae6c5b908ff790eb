/**
 * A sorted map of which every version stays as it was, at O(log n) for each change: a treap whose priorities are hashes
 * of the keys, so that equal contents have equal shapes.
 */
export type PersistentMap = Node | null;

interface Node {
  readonly key: string;
  readonly value: string;
  readonly priority: number;
  readonly left: PersistentMap;
  readonly right: PersistentMap;
}

/** FNV-1a, with its bits mixed at the end. */
function hash(text: string): number {
  let mixed = 0x811c9dc5;
  for (let n = 0; n < text.length; n++) mixed = Math.imul(mixed ^ text.charCodeAt(n), 0x01000193);
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x45d9f3b);
  return (mixed ^ (mixed >>> 15)) >>> 0;
}

export function get(map: PersistentMap, key: string): string | undefined {
  let node = map;
  while (node && node.key !== key) node = key < node.key ? node.left : node.right;
  return node?.value;
}

export function set(map: PersistentMap, key: string, value: string): PersistentMap {
  if (get(map, key) === value) return map;
  const [less, , more] = split(map, key);
  return join(join(less, { key, value, priority: hash(key), left: null, right: null }), more);
}

export function remove(map: PersistentMap, key: string): PersistentMap {
  const [less, found, more] = split(map, key);
  return found ? join(less, more) : map;
}

/** In the order of keys; of keys that begin with `prefix` alone. */
export function* entries(map: PersistentMap, prefix = ""): Generator<readonly [string, string]> {
  if (!map) return;
  const begins = map.key.startsWith(prefix);
  if (begins || prefix < map.key) yield* entries(map.left, prefix);
  if (begins) yield [map.key, map.value];
  if (begins || map.key < prefix) yield* entries(map.right, prefix);
}

/** What is less than `key`, what is equal, and what is more. */
function split(map: PersistentMap, key: string): [PersistentMap, PersistentMap, PersistentMap] {
  if (!map) return [null, null, null];
  if (key === map.key) return [map.left, map, map.right];
  if (key < map.key) {
    const [less, found, more] = split(map.left, key);
    return [less, found, { ...map, left: more }];
  }
  const [less, found, more] = split(map.right, key);
  return [{ ...map, right: less }, found, more];
}

/** Every key of `left` is less than every one of `right`. */
function join(left: PersistentMap, right: PersistentMap): PersistentMap {
  if (!left || !right) return left ?? right;
  return left.priority > right.priority
    ? { ...left, right: join(left.right, right) }
    : { ...right, left: join(left, right.left) };
}
