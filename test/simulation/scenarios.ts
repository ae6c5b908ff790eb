/** The numbered scenarios, as the titles of tests tell them, and the list of them in `test/README.md`. */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";

const ROOT = resolve(import.meta.dir, "../..");
export const README = join(ROOT, "test/README.md");

/** How many there are. */
export const LAST = 68;

export interface Scenario {
  number: number;
  /** The number and a letter or two, where several tests show it; "…" in place of letters that the test makes up. */
  label: string;
  /** What is true, with "…" in place of what varies. */
  claim: string;
  /** From the root. */
  file: string;
}

const NUMBERED =
  /\btest(?:\.\w+)*(?:\([^()]*\))?\(\s*(["'`])(\d+)((?:[a-z]|\$\{(?:(?!\}\. )[^\n])*\})*)\. ((?:(?!\1,)[^\n])*)\1,/g;

/** The end of a title that says which seed it ran with. */
const SEED_OF_TITLE = / {2}SEED=.*$/;
const PARAMETER = /\$\{[^{}]*\}|%[ds]/g;

/** Every test that shows a scenario, in the order of their labels. */
export function scenarios(): Scenario[] {
  const found: Scenario[] = [];
  for (const file of [...new Bun.Glob("test/**/*.test.ts").scanSync({ cwd: ROOT })].sort())
    for (const [, , number, letters = "", claim = ""] of readFileSync(join(ROOT, file), "utf8").matchAll(NUMBERED))
      found.push({
        number: Number(number),
        label: number + letters.replace(PARAMETER, "…"),
        claim: claim.replace(SEED_OF_TITLE, "").replace(PARAMETER, "…"),
        file,
      });
  return found.sort((a, b) => a.number - b.number || byLetters(a.label, b.label));
}

const byLetters = (a: string, b: string): number => a.length - b.length || (a < b ? -1 : 1);

const PLACE = /(<!-- scenarios -->\n)[\s\S]*?(<!-- end -->)/;

/** @returns the text of the README with the list as the titles have it; throws if the list has no place in it */
export function withScenarios(readme: string): string {
  if (!PLACE.test(readme)) throw new Error("test/README.md has no place for the list of scenarios");
  const lines = scenarios().map(
    ({ label, claim, file }) => `- \`${label}\` ${claim} (\`${file.slice("test/".length)}\`)`,
  );
  return readme.replace(PLACE, (_, open: string, end: string) => `${open}\n${lines.join("\n")}\n\n${end}`);
}
