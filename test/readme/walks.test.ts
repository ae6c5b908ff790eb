/** What keeps the walks of actors/README.md true. */
import { expect, test } from "bun:test";
import { readReadme } from "./readmes.ts";
import { isReached, type Step, walksOf } from "./walks.ts";

const walks = walksOf(readReadme("actors/README.md").text);

test("there are five walks, each of several files", () => {
  expect(walks.map(({ title }) => title)).toEqual(["A put", "A get", "A heartbeat", "A repair", "A list"]);
  for (const { steps } of walks) expect(steps.length).toBeGreaterThanOrEqual(6);
});

const spelled = ({ from, file, words }: Step): string => `${from} → ${file} by ${words.join(", ") || "an import"}`;

test.each(walks.map(({ title, steps }) => [title, steps] as [string, Step[]]))(
  "each file of the walk %p imports the next one, or both hold the word that the line names",
  (_, steps) => {
    expect(steps.filter((step) => !isReached(step)).map(spelled)).toEqual([]);
  },
);

test("a step that no import and no shared word makes is noticed", () => {
  const [walk] = walksOf(
    "### A walk\n\n- `gateway/rest/put-object.ts` begins\n  - `actors/worker/host.ts` by\n    `SEAL_CHUNK`\n",
  );
  expect(walk?.steps.map(isReached)).toEqual([true, false]);
  expect(walk?.steps[1]).toEqual({
    file: "actors/worker/host.ts",
    from: "gateway/rest/put-object.ts",
    words: ["SEAL_CHUNK"],
  });
});
