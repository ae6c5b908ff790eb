/** A state in words with its colour beside it; the shape differs too, for those who see no colour. */
const SHAPE: Record<string, string> = {
  good: "M2 6a4 4 0 1 1 8 0a4 4 0 1 1-8 0",
  passive: "M2.500 2.500h7v7h-7z",
  wary: "M6 1.500l5 9H1z",
  trouble: "M6 1l5 5-5 5-5-5z",
  down: "M2.200 3.600l1.400-1.400L6 4.600l2.400-2.400 1.400 1.400L7.400 6l2.400 2.400-1.400 1.400L6 7.400 3.600 9.800 2.200 8.400 4.600 6z",
  unknown: "M2 6a4 4 0 1 1 8 0a4 4 0 1 1-8 0m1.500 0a2.500 2.500 0 1 0 5 0a2.500 2.500 0 1 0-5 0",
};

export const StateDot = ({ tone, label }: { tone: string; label: string }) => (
  <span class={`state-dot ${tone}`}>
    <svg viewBox="0 0 12 12" aria-hidden="true" focusable="false">
      <path fill-rule="evenodd" d={SHAPE[tone] ?? SHAPE.passive} />
    </svg>
    {label}
  </span>
);
