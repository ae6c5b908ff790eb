/**
 * The walks of actors/README.md: nested lists of files through which a request goes. A line begins with its file; the line
 * that it is nested under is the file that it is reached from, by an import or by a word that both files hold.
 */
import { readFileSync } from "node:fs";
import { dirname, join, relative } from "node:path";
import { ROOT } from "./readmes.ts";

export interface Step {
  file: string;
  /** The file that it is nested under; null for the first. */
  from: string | null;
  /** Words in `code` on its line: a message, a method, a header. */
  words: string[];
}

export interface Walk {
  title: string;
  steps: Step[];
}

const STEP = /^( *)- `((?:actors|gateway|databases)\/[\w./-]+\.tsx?)`(.*)$/;

/** @param text of a page; a walk begins at a title of the third level that a list of steps follows */
export function walksOf(text: string): Walk[] {
  const walks: Walk[] = [];
  let title = "";
  let above: { indent: number; file: string }[] = [];
  for (const line of text.replace(/\n +(?=[^-\s])/g, " ").split("\n")) {
    const heading = /^#+ (.+)$/.exec(line)?.[1];
    if (heading !== undefined) {
      title = heading;
      above = [];
    }
    const [, spaces = "", file, rest = ""] = STEP.exec(line) ?? [];
    if (file === undefined) continue;
    if (walks.at(-1)?.title !== title) walks.push({ title, steps: [] });
    above = above.filter(({ indent }) => indent < spaces.length);
    const words = [...rest.matchAll(/`([^`]+)`/g)].map(([, word]) => word as string);
    walks.at(-1)?.steps.push({ file, from: above.at(-1)?.file ?? null, words });
    above.push({ indent: spaces.length, file });
  }
  return walks;
}

const read = (file: string): string => readFileSync(join(ROOT, file), "utf8");

function imports(from: string, to: string): boolean {
  const path = relative(dirname(from), to);
  return read(from).includes(`"${path.startsWith(".") ? path : `./${path}`}"`);
}

/** Does a request get from the one file to the other as the step says? */
export const isReached = ({ file, from, words }: Step): boolean =>
  from === null || imports(from, file) || words.some((word) => read(from).includes(word) && read(file).includes(word));
