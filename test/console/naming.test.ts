/** What a person types as a name is a name, and as a folder a folder. */
import { expect, test } from "bun:test";
import {
  folderOf,
  folderProblem,
  folderTyped,
  nameOf,
  nameProblem,
  stemLength,
} from "../../gateway/console/page/files/naming.ts";

test("C2. a name cannot lead out of its folder: a slash, a dot and two dots are refused with words", () => {
  expect(nameProblem("plans.png")).toBeNull();
  expect(nameProblem("archive/plans.png")).toBe("A name has no slash. To put it into another folder, use Move.");
  for (const name of ["/plans", "plans/", "..", ".", "", "  ", "a\0b"]) expect(nameProblem(name)).toBeString();
  for (const name of ["...", ".hidden", "a b", "ä"]) expect(nameProblem(name)).toBeNull();
});

test("C2. renaming keeps the folder, and begins with the stem selected", () => {
  expect(`${folderOf("docs/files.png")}plans.png`).toBe("docs/plans.png");
  expect([folderOf("docs/deep/"), folderOf("docs/"), folderOf("a.txt")]).toEqual(["docs/", "", ""]);
  expect([nameOf("docs/deep/"), nameOf("a.txt")]).toEqual(["deep", "a.txt"]);
  const stem = (path: string, kind: "file" | "directory"): string => nameOf(path).slice(0, stemLength({ path, kind }));
  expect(stem("docs/files.png", "file")).toBe("files");
  expect(stem("docs/notes.tar.gz", "file")).toBe("notes.tar");
  expect(stem(".hidden", "file")).toBe(".hidden");
  expect(stem("v1.2/", "directory")).toBe("v1.2");
});

test("C2. moving takes a folder, from the top, with or without slashes at its ends", () => {
  expect([folderTyped("/"), folderTyped("docs"), folderTyped(" /docs/old/ ")]).toEqual(["", "docs/", "docs/old/"]);
  expect([folderProblem("/"), folderProblem("/docs/old")]).toEqual([null, null]);
  for (const text of ["docs//old", "docs/../other", "./docs"]) expect(folderProblem(text)).toBeString();
});
