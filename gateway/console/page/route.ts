/** Where on the page one is: the hash says it, so that a link shows another person the same. */
import { signal } from "@preact/signals";
import { parseHash, type Route } from "./location-hash.ts";

export type { View } from "./location-hash.ts";

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
