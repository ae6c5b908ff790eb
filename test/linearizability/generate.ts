/** Histories by seed: clients that overlap, with each operation taking effect at one moment between call and answer. */
import { pick } from "../support/random.ts";
import { type FileOp, fileModel } from "./file-model.ts";
import type { Call } from "./history.ts";

export interface Shape {
  operations: number;
  clients: number;
  paths: number;
  /** Share of operations that are never answered; half of them take effect. */
  unknown?: number;
  kinds?: readonly FileOp["kind"][];
}

/** A history that is right, in the order of calls; every change that took effect has its index. */
export function generate(random: () => number, shape: Shape): Call<FileOp>[] {
  const { operations, clients, unknown = 0 } = shape;
  const history: Call<FileOp>[] = [];
  const busy = new Map<string, { one: Call<FileOp>; outcome: string | null; isLost: boolean }>();
  let [state, now, index, renamed] = [fileModel.initial, 0, 0, 0];
  const seen = [""];
  while (history.length < operations || busy.size > 0) {
    const client = `client-${Math.floor(random() * clients)}`;
    const under = busy.get(client);
    if (!under) {
      if (history.length >= operations) continue;
      const op = randomOp(random, shape, history.length, seen);
      const one: Call<FileOp> = { client, op, call: now++, return: null, outcome: null };
      history.push(one);
      const isLost = random() < unknown;
      if (isLost && random() < 0.5) {
        // A client whose call was lost goes on under a new name.
        one.client = `${client}-${renamed++}`;
        continue;
      }
      busy.set(client, { one, outcome: null, isLost });
    } else if (under.outcome === null) {
      const next = fileModel.step(state, under.one.op);
      if (fileModel.changes(under.one.op, next.outcome)) under.one.index = ++index;
      state = next.state;
      under.outcome = next.outcome;
      if (next.outcome.startsWith("=")) seen.push(next.outcome.slice(1));
      if (!under.isLost) continue;
      under.one.client = `${client}-${renamed++}`;
      busy.delete(client);
    } else {
      under.one.return = now++;
      under.one.outcome = under.outcome;
      busy.delete(client);
    }
  }
  return history;
}

const KINDS = ["put", "put", "put", "get", "get", "get", "delete", "rename", "copy", "list"] as const;

function randomOp(random: () => number, { paths, kinds = KINDS }: Shape, n: number, seen: readonly string[]): FileOp {
  const path = (): string => `k${Math.floor(random() * paths)}`;
  const kind = pick(random, kinds);
  const ifMatch = random() < 0.2 ? { ifMatch: seen.at(-1) as string } : {};
  switch (kind) {
    case "put":
      return { kind, path: path(), content: `v${n}`, ...(random() < 0.2 ? { ifAbsent: true } : ifMatch) };
    case "delete":
      return { kind, path: path(), ...ifMatch };
    case "rename":
    case "copy":
      return { kind, path: path(), to: path(), overwrite: random() < 0.5, ...ifMatch };
    case "list":
      return { kind, prefix: "k" };
    default:
      return { kind, path: path() };
  }
}
