/** Layouts are drawn ahead, by `bun run machines`, and lie in `layouts/`; a test keeps them as the machines are. */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Chart, Layout } from "./api.ts";

const FOLDER = join(import.meta.dir, "layouts");

/** A machine as it was drawn. */
export interface DrawnMachine {
  chart: Chart;
  layout: Layout;
}

let drawn: Map<string, DrawnMachine> | undefined;

export function drawnMachines(): Map<string, DrawnMachine> {
  drawn ??= new Map(
    readdirSync(FOLDER)
      .filter((name) => name.endsWith(".json"))
      .map((name) => JSON.parse(readFileSync(join(FOLDER, name), "utf8")) as DrawnMachine)
      .map((machine) => [machine.chart.machine, machine]),
  );
  return drawn;
}

/** @returns null for a machine, or a version of one, that was not drawn yet */
export function layoutOf({ machine, hash }: Chart): Layout | null {
  const found = drawnMachines().get(machine);
  return found?.layout.hash === hash ? found.layout : null;
}
