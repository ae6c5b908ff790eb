/** What the hash of a link means. */
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
