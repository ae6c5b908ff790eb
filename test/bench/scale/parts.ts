/**
 * Programs of their own that show how cost grows: too long for every run, so they run when they are named.
 *
 * Each is a script of this folder, `<name>.bench.ts`; the first line of its docstring is its title. It finds a folder for its
 * data in `DFS_BENCH_DIRECTORY`, and `DFS_BENCH_QUICK` is "1" when it should cut its sizes. What it prints is told as it
 * comes, but for lines that are figures, in JSON: `{"id": "tiny.copy", "label": "a copy", "value": 1.5, "unit": "s"}`.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { runScript } from "../child-processes.ts";
import type { ApartMeasurement, ApartSession, Figure } from "../measurement.ts";
import { QUICK } from "../sizes.ts";
import { figureIn } from "./part.ts";

const SUFFIX = ".bench.ts";

async function run(script: string, { place, sizes, say }: ApartSession): Promise<Figure[]> {
  const figures: Figure[] = [];
  const env = { DFS_BENCH_DIRECTORY: place.directory, DFS_BENCH_QUICK: sizes === QUICK ? "1" : "0" };
  await runScript(script, env, (line) => {
    const figure = figureIn(line);
    if (figure) figures.push({ ...figure, place: place.kind });
    else say(line);
  });
  return figures;
}

const titleOf = (file: string): string | undefined =>
  /^\/\*\*\s+(?:\* )?(.+?)(?: \*\/)?$/m.exec(readFileSync(join(import.meta.dir, file), "utf8"))?.[1];

export const scaleParts: ApartMeasurement[] = readdirSync(import.meta.dir)
  .filter((file) => file.endsWith(SUFFIX))
  .sort()
  .map((file) => {
    const name = file.slice(0, -SUFFIX.length);
    return {
      name,
      title: titleOf(file) ?? name,
      where: "disk",
      onlyWhenNamed: true,
      runApart: (session) => run(`scale/${file}`, session),
    };
  });
