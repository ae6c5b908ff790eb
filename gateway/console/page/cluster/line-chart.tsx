/** A small chart of the last minutes: lines over one time axis, gaps where nothing is known. */
import { useSignal } from "@preact/signals";

export interface Series {
  label: string;
  /** CSS class of its colour; the label says the same in words. */
  tone: string;
  values: (number | null)[];
}

const WIDTH = 320;
const HEIGHT = 96;
/** A page just opened shows little, but not as a dot in a corner. */
const SPAN_MS = { least: 30_000, most: 300_000 };

interface Props {
  title: string;
  series: Series[];
  /** ms of the page's clock, one per value */
  at: number[];
  inWords: (value: number) => string;
  note?: string;
}

export function LineChart({ title, series, at, inWords, note }: Props) {
  const pointed = useSignal<number | null>(null);
  const end = at.at(-1) ?? 0;
  const spanMs = Math.min(SPAN_MS.most, Math.max(SPAN_MS.least, end - (at[0] ?? end)));
  const x = (ms: number): number => WIDTH - ((end - ms) / spanMs) * WIDTH;
  const highest = Math.max(0, ...series.flatMap(({ values }) => values.map((value) => value ?? 0)));
  const top = Math.max(1e-9, highest) * 1.1;
  const y = (value: number): number => HEIGHT - 2 - (value / top) * (HEIGHT - 8);
  const index = pointed.value === null ? at.length - 1 : nearest(at, end - (1 - pointed.value) * spanMs);
  const said = series.map(({ label, values }) => {
    const value = values[index];
    return `${label} ${value === null || value === undefined ? "not known" : inWords(value)}`;
  });
  return (
    <figure class="line-chart panel">
      <figcaption>
        <strong>{title}</strong>
        <span class="quiet">
          {highest > 0 && `highest ${inWords(highest)} · `}
          {pointed.value === null ? "now" : `${Math.round((end - (at[index] ?? end)) / 1000)} s ago`}
        </span>
      </figcaption>
      <svg
        class="plot"
        viewBox={`0 0 ${WIDTH} ${HEIGHT}`}
        preserveAspectRatio="none"
        role="img"
        aria-label={`${title}: ${said.join(", ")}`}
        onPointerMove={(event) => {
          const box = event.currentTarget.getBoundingClientRect();
          pointed.value = (event.clientX - box.left) / box.width;
        }}
        onPointerLeave={() => {
          pointed.value = null;
        }}
      >
        <line class="base" x1="0" x2={WIDTH} y1={HEIGHT - 2} y2={HEIGHT - 2} />
        {series.map(({ label, tone, values }) => (
          <path key={label} class={`series ${tone}`} d={lineOf(values, at, x, y)} />
        ))}
        {pointed.value !== null && (
          <line class="pointer" x1={x(at[index] ?? end)} x2={x(at[index] ?? end)} y1="0" y2={HEIGHT} />
        )}
      </svg>
      <ul class="legend">
        {series.map(({ label, tone, values }) => {
          const value = values[index];
          return (
            <li key={label}>
              <span class={`swatch ${tone}`} aria-hidden="true" />
              {label} <b>{value === null || value === undefined ? "–" : inWords(value)}</b>
            </li>
          );
        })}
        {note && <li class="quiet">{note}</li>}
      </ul>
    </figure>
  );
}

function nearest(at: number[], wanted: number): number {
  let best = at.length - 1;
  for (let n = at.length - 1; n >= 0; n--) {
    if (Math.abs((at[n] as number) - wanted) > Math.abs((at[best] as number) - wanted)) break;
    best = n;
  }
  return best;
}

function lineOf(
  values: (number | null)[],
  at: number[],
  x: (ms: number) => number,
  y: (value: number) => number,
): string {
  let path = "";
  let isDown = false;
  for (const [n, value] of values.entries()) {
    if (value === null) {
      isDown = false;
      continue;
    }
    path += `${isDown ? "L" : "M"}${x(at[n] as number).toFixed(1)} ${y(value).toFixed(1)}`;
    isDown = true;
  }
  return path;
}
