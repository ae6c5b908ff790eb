/** What just happened, in a sentence: seen in a corner, and read out by screen readers. */
import { signal } from "@preact/signals";

export interface Notice {
  id: number;
  kind: "done" | "problem";
  text: string;
}

export const notices = signal<Notice[]>([]);
let lastId = 0;
const SHOWN_MS = { done: 4000, problem: 12_000 };

export function announce(text: string, kind: Notice["kind"] = "done"): void {
  const id = ++lastId;
  notices.value = [...notices.value.slice(-3), { id, kind, text }];
  setTimeout(() => dismiss(id), SHOWN_MS[kind]);
}

export const dismiss = (id: number): void => {
  notices.value = notices.value.filter((notice) => notice.id !== id);
};
