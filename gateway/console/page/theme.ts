/** Dark or light: the system's choice unless the person made one. */
import { computed, effect, signal } from "@preact/signals";
import { storedSignal } from "./signals-storage.ts";

const dark = matchMedia("(prefers-color-scheme: dark)");
const systemIsDark = signal(dark.matches);
dark.addEventListener("change", ({ matches }) => {
  systemIsDark.value = matches;
});

/** "" = as the system says */
const chosen = storedSignal("dfs-theme", "");
export const theme = computed<"dark" | "light">(() =>
  chosen.value === "dark" || chosen.value === "light" ? chosen.value : systemIsDark.value ? "dark" : "light",
);
effect(() => {
  document.documentElement.dataset.theme = theme.value;
});

export const toggleTheme = (): void => {
  chosen.value = theme.value === "dark" ? "light" : "dark";
};

const still = matchMedia("(prefers-reduced-motion: reduce)");
export const wantsStillness = (): boolean => still.matches;
