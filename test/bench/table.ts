/** The figures as a person reads them: a row each, a column for each place, and then the aims. */
import type { Verdict } from "./aims.ts";
import type { Figure } from "./measurement.ts";
import type { PlaceKind } from "./place.ts";

export interface Section {
  title: string;
  figures: Figure[];
}

const WIDTHS = { label: 48, value: 20 };

export function spelled(value: number | null, unit: string): string {
  if (value === null) return "n/a";
  const digits = Math.abs(value) >= 100 ? 0 : Math.abs(value) >= 10 ? 1 : 2;
  return `${value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits })} ${unit}`;
}

function rows({ figures }: Section): string[] {
  return [...new Set(figures.map(({ id }) => id))].map((id) => {
    const at = (place: PlaceKind) => figures.find((figure) => figure.id === id && figure.place === place);
    const [disk, memory] = [at("disk"), at("memory")];
    const { label } = (disk ?? memory) as Figure;
    const cell = (figure: Figure | undefined): string =>
      (figure ? spelled(figure.value, figure.unit) : "").padStart(WIDTHS.value);
    const notes = [...new Set([disk?.note, memory?.note].filter(Boolean))].join("; ");
    return `  ${label.padEnd(WIDTHS.label)}${cell(disk)}${cell(memory)}${notes ? `   ${notes}` : ""}`;
  });
}

export function formatTable(sections: Section[], verdicts: Verdict[]): string {
  const heads = `${"on disk".padStart(WIDTHS.value)}${"in memory".padStart(WIDTHS.value)}`;
  const lines = [`${" ".repeat(WIDTHS.label + 2)}${heads}`];
  for (const section of sections) lines.push("", section.title, ...rows(section));
  const judged = verdicts.filter(({ reached }) => reached !== null);
  if (judged.length > 0) lines.push("", "Aims");
  for (const { aim, value, unit, reached, byPercent } of judged) {
    const by = `by ${Math.round(byPercent ?? 0)} %`;
    lines.push(
      `  ${aim.padEnd(WIDTHS.label + 18)}${spelled(value, unit).padStart(WIDTHS.value)}   ${reached ? "reached" : "not reached"}, ${by}`,
    );
  }
  return lines.join("\n");
}
