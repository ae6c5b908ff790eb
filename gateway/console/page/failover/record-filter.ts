/** Which records a person asks for. */
import type { StepRecord } from "../../api.ts";

/** Words that all must occur; `node:`, `machine:` and `event:` narrow one down to its column. Pure. */
export function matcherOf(text: string): (record: StepRecord) => boolean {
  const words = text.toLowerCase().split(/\s+/).filter(Boolean);
  return (record) =>
    words.every((word) => {
      const [, column, rest = ""] = /^(node|machine|event|subject):(.*)$/.exec(word) ?? [];
      if (column === "node") return record.n.includes(rest);
      if (column === "machine") return record.m.toLowerCase().includes(rest);
      if (column === "event") return record.e.toLowerCase().includes(rest);
      if (column === "subject") return record.s.toLowerCase().includes(rest);
      return `${record.n} ${record.m} ${record.s} ${record.e} ${record.v} ${record.k}`.toLowerCase().includes(word);
    });
}
