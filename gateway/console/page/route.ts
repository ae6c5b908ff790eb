/** Where on the page one is: the hash says it, so that a link shows somebody else the same. */
import { signal } from "@preact/signals";

export const VIEWS = ["files", "cluster", "failover"] as const;
export type View = (typeof VIEWS)[number];

export interface Route {
  view: View;
  /** Files: the folder, "" or ending in a slash. */
  folder: string;
  params: URLSearchParams;
}

/** Pure; anything unknown leads to the files. */
export function parseHash(hash: string): Route {
  const [path = "", query = ""] = hash.replace(/^#\/?/, "").split("?", 2);
  const [view = "", ...rest] = path.split("/");
  const folder = rest.filter(Boolean).map(decodeSegment).join("/");
  return {
    view: VIEWS.find((name) => name === view) ?? "files",
    folder: folder === "" ? "" : `${folder}/`,
    params: new URLSearchParams(query),
  };
}

function decodeSegment(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return segment;
  }
}

export const folderHash = (folder: string): string =>
  `#/files/${folder.split("/").filter(Boolean).map(encodeURIComponent).join("/")}`;

export const route = signal<Route>(parseHash(location.hash));
addEventListener("hashchange", () => {
  route.value = parseHash(location.hash);
});

/** Changes the link without a step in the browser's history. */
export function replaceHash(hash: string): void {
  if (hash !== location.hash) history.replaceState(null, "", hash);
}
