/** Signals whose value outlives the page: settings of one person in one browser. */
import { effect, type Signal, signal } from "@preact/signals";

function read(storage: Storage, key: string): string | null {
  try {
    return storage.getItem(key);
  } catch {
    return null;
  }
}

function write(storage: Storage, key: string, value: string): void {
  try {
    if (value === "") storage.removeItem(key);
    else storage.setItem(key, value);
  } catch {
    // A browser that keeps nothing still shows everything.
  }
}

/** `""` is not kept. */
export function storedSignal(key: string, initial: string, storage: Storage = localStorage): Signal<string> {
  const kept = signal(read(storage, key) ?? initial);
  effect(() => write(storage, key, kept.value));
  return kept;
}
