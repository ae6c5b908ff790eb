/** What a person does to files: each asks first where something would be lost, and says what came of it. */
import type { ListedEntry } from "../../../client/answers.ts";
import { announce } from "../announce.ts";
import { ask, fileUrl, postJson, sentenceOf, token } from "../ask.ts";
import { confirmed, prompted } from "../shell/dialog.tsx";
import { mayAct } from "../silence.ts";
import { folder, reload } from "./listing.ts";
import { folderOf, folderProblem, folderTyped, nameOf, nameProblem, stemLength } from "./naming.ts";

async function attempt(what: string, act: () => Promise<unknown>): Promise<boolean> {
  try {
    await act();
    announce(what);
    return true;
  } catch (error) {
    announce(sentenceOf(error), "problem");
    return false;
  } finally {
    void reload();
  }
}

export async function newFolder(): Promise<void> {
  if (!mayAct()) return;
  const into = folder.peek();
  const name = await prompted({
    title: "New folder",
    body: null,
    verb: "Make",
    field: { label: "Name", value: "", problem: (typed) => nameProblem(typed.trim()) },
  });
  if (name !== null)
    await attempt(`Folder ${name.trim()} is there.`, () => postJson(fileUrl(into + name.trim()), { mkdir: true }));
}

/** Another name in the same folder. */
export async function rename(entry: ListedEntry): Promise<void> {
  if (!mayAct()) return;
  const from = entry.path.replace(/\/$/, "");
  const name = nameOf(from);
  const wanted = await prompted({
    title: `Rename ${name}`,
    body: null,
    verb: "Rename",
    field: { label: "New name", value: name, select: stemLength(entry), problem: nameProblem },
  });
  if (wanted === null || wanted === name) return;
  await attempt(`${name} is now ${wanted}.`, () => postJson(fileUrl(from), { rename: folderOf(from) + wanted }));
}

/** The same name in another folder. */
export async function move(entry: ListedEntry): Promise<void> {
  if (!mayAct()) return;
  const from = entry.path.replace(/\/$/, "");
  const name = nameOf(from);
  const wanted = await prompted({
    title: `Move ${name}`,
    body: "Folders that are missing come by themselves. A single slash is the top folder.",
    verb: "Move",
    field: { label: "To folder", value: `/${folderOf(from).replace(/\/$/, "")}`, problem: folderProblem },
  });
  if (wanted === null || folderTyped(wanted) === folderOf(from)) return;
  const to = folderTyped(wanted) + name;
  await attempt(`${name} is now in /${folderTyped(wanted)}`, () => postJson(fileUrl(from), { rename: to }));
}

export async function remove(list: ListedEntry[]): Promise<boolean> {
  const [first] = list;
  if (!first || !mayAct()) return false;
  const folders = list.filter(({ kind }) => kind === "directory").length;
  const one = list.length === 1;
  const what = one ? nameOf(first.path) : `${list.length} entries`;
  const yes = await confirmed({
    title: one ? `Delete ${what}?` : `Delete ${what}?`,
    body:
      folders === 0
        ? "It disappears from the list at once. The bytes stay in the workers' trash for a while, but the console cannot bring them back."
        : "Everything inside goes as well. The bytes stay in the workers' trash for a while, but the console cannot bring them back.",
    verb: "Delete",
    isDangerous: true,
  });
  if (!yes) return false;
  return attempt(`${what} ${one ? "is" : "are"} deleted.`, async () => {
    for (const { path, kind } of list)
      await ask(fileUrl(path) + (kind === "directory" ? "?recursive=true" : ""), { method: "DELETE" });
  });
}

/** A link of the browser's own, unless a token must go with it: then the bytes pass through the page. */
export async function download({ path }: ListedEntry): Promise<void> {
  const link = document.createElement("a");
  link.download = nameOf(path);
  try {
    if (token.peek() === "") link.href = fileUrl(path);
    else
      link.href = URL.createObjectURL(
        await (await ask(fileUrl(path), { signal: AbortSignal.timeout(3_600_000) })).blob(),
      );
  } catch (error) {
    announce(sentenceOf(error), "problem");
    return;
  }
  link.click();
  if (link.href.startsWith("blob:")) setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
