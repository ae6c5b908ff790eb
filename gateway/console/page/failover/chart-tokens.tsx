/** Where the actors of a machine are: a token for each, and the light of the states that hold them. */
import { recordId } from "../../../../actors/rules/record-id.ts";
import type { ActorState, Box, StepRecord } from "../../api.ts";
import { statesOfPart, tokenStates } from "./chart-text.ts";
import { shortName } from "./node-state.ts";
import { goTo, instant, trace } from "./playback.ts";
import { type Tone, toneOf } from "./tones.ts";
import { inNaturalOrder } from "./trace.ts";

export interface Token {
  key: string;
  label: string;
  title: string;
  tone: Tone;
  step: StepRecord | ActorState;
  isOver: boolean;
}

/** How a state is lit: by the tone of those in it, or plainly if they differ. */
export type Light = Tone | "mixed";

/** By state: who is in it, and how it is lit. */
export interface Shown {
  tokens: Map<string, Token[]>;
  lit: Map<string, Light>;
}

const MOST_TOKENS = 5;

/** The actors of a machine at the shown instant, by the state that they sit in. */
export function tokensOf(machine: string): Shown & { count: number } {
  const tokens = new Map<string, Token[]>();
  const lit = new Map<string, Light>();
  const actors = trace()
    .actorsAt(instant.value)
    .filter(({ track }) => track.m === machine)
    .sort((a, b) => inNaturalOrder(a.track.s, b.track.s));
  for (const { track, step, isOver } of actors) {
    const tone = toneOf(machine, step.v);
    const who = track.s === track.n || machine === "steward" ? track.n : track.s;
    const token = {
      key: track.key,
      label: shortName(who),
      title: `${who}${who === track.n ? "" : ` on ${track.n}`}: ${step.v.replaceAll("|", ", ")}`,
      tone,
      step,
      isOver,
    };
    for (const part of step.v.split("|")) {
      const light = toneOf(machine, part);
      for (const id of statesOfPart(machine, part)) lit.set(id, (lit.get(id) ?? light) === light ? light : "mixed");
    }
    for (const id of tokenStates(machine, step.v)) tokens.set(id, [...(tokens.get(id) ?? []), token]);
  }
  return { tokens, lit, count: actors.length };
}

/** The state that was entered last: where one looks. */
export function newestState(tokens: Shown["tokens"]): string | null {
  let newest: { id: string; h: string } | null = null;
  for (const [id, there] of tokens)
    for (const { step } of there) if (newest === null || step.h > newest.h) newest = { id, h: step.h };
  return newest?.id ?? null;
}

const TOKEN_STEP = 25;
const NAME_CHAR = 7.3;

/** On the upper edge, to the right, never over the state's name. */
export function Tokens({ tokens, box, name }: { tokens: Token[]; box: Box; name: string }) {
  const shown = tokens.slice(0, tokens.length > MOST_TOKENS ? MOST_TOKENS - 1 : MOST_TOKENS);
  const rest = tokens.length - shown.length;
  const width = (shown.length + (rest > 0 ? 1.2 : 0)) * TOKEN_STEP;
  const left = Math.max(box.x + box.width - width, box.x + 14 + name.length * NAME_CHAR);
  return (
    <g class="tokens">
      {rest > 0 && (
        <g class="token more" transform={`translate(${left + (shown.length + 0.6) * TOKEN_STEP} ${box.y})`}>
          <title>{tokens.map(({ title }) => title).join("\n")}</title>
          <rect x="-15" y="-11" width="30" height="22" rx="11" />
          <text text-anchor="middle" dominant-baseline="central">
            +{rest}
          </text>
        </g>
      )}
      {shown.map((token, n) => (
        <TokenMark key={token.key} token={token} x={left + (n + 0.5) * TOKEN_STEP} y={box.y} />
      ))}
    </g>
  );
}

function TokenMark({ token, x, y }: { token: Token; x: number; y: number }) {
  const record = trace().get(recordId(token.step));
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: the list of nodes and of events lead there by keys
    <g
      class={`token ${token.tone} ${token.isOver ? "over" : ""}`}
      transform={`translate(${x} ${y})`}
      data-token={token.label}
      onClick={() => record && goTo(record)}
    >
      <title>{token.title}</title>
      <circle r="12" />
      <text text-anchor="middle" dominant-baseline="central">
        {token.label}
      </text>
    </g>
  );
}
