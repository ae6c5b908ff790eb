/** Takes a history apart into parts that cannot matter to each other: each can be judged alone. */
import type { Call, Model } from "./history.ts";

/** @returns the parts, each in the order of the history */
export function partition<Op, One extends Call<Op>>(
  { touches }: Pick<Model<unknown, Op>, "touches">,
  history: readonly One[],
): One[][] {
  const together = new Together();
  const prefixes = new Set<string>();
  const nodes = history.map(({ op }) => {
    const { names, prefix } = touches(op);
    const keys = names.map((name) => `name ${name}`);
    if (prefix !== undefined) {
      prefixes.add(prefix);
      keys.push(`prefix ${prefix}`);
    }
    for (const key of keys) together.join(keys[0] as string, key);
    return keys[0] as string;
  });
  joinPrefixes(together, [...new Set(history.flatMap(({ op }) => touches(op).names))].sort(), prefixes);
  return [...Map.groupBy(history.keys(), (n) => together.find(nodes[n] as string)).values()].map((members) =>
    members.map((n) => history[n] as One),
  );
}

/** @param names sorted, so that those with the same prefix stand side by side */
function joinPrefixes(together: Together, names: string[], prefixes: Set<string>): void {
  for (const prefix of prefixes) {
    let [from, to] = [0, names.length];
    while (from < to) {
      const middle = (from + to) >> 1;
      if ((names[middle] as string) < prefix) from = middle + 1;
      else to = middle;
    }
    for (; names[from]?.startsWith(prefix); from++) together.join(`prefix ${prefix}`, `name ${names[from]}`);
  }
}

/** Union-find. */
class Together {
  readonly #above = new Map<string, string>();

  find(key: string): string {
    let top = key;
    for (let above = this.#above.get(top); above !== undefined; above = this.#above.get(top)) top = above;
    for (let at = key; at !== top; ) {
      const above = this.#above.get(at) as string;
      this.#above.set(at, top);
      at = above;
    }
    return top;
  }

  join(one: string, other: string): void {
    const [top, otherTop] = [this.find(one), this.find(other)];
    if (top !== otherTop) this.#above.set(otherTop, top);
  }
}
