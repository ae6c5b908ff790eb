/** Who a kind of node spent its own CPU on, file by file. */
import { eachOf, NODE_KINDS } from "../spent-cpu.ts";
import { type Sampled, tally } from "./cpu-profile.ts";
import type { ProfiledOperation } from "./profiled-run.ts";

const ROWS = 15;
const share = (part: number, whole: number): string => `${((100 * part) / whole).toFixed(1)} %`.padStart(8);

/** A native function says little without the file that called it. */
const nameOf = ({ source, onBehalfOf }: Sampled): string =>
  source.startsWith("native ") && onBehalfOf !== null ? `${source}, for ${onBehalfOf}` : source;

/** For each kind of node: its CPU, how much of it JavaScript was, and where that was. */
export function fileTable({ operation, performed, nodes }: ProfiledOperation): string {
  const lines = [operation.label];
  for (const kind of NODE_KINDS) {
    const those = nodes.filter((node) => node.kind === kind);
    const sampled = those.flatMap((node) => node.sampled);
    const all = sampled.reduce((sum, { samples }) => sum + samples, 0);
    if (all === 0) continue;
    const each = eachOf(performed.spent, kind);
    const inJavaScript = those.reduce((sum, { javaScriptShare }) => sum + javaScriptShare, 0) / those.length;
    const cpu =
      each === null
        ? ""
        : `: ${each.toFixed(2)} s of CPU, first thread ${(100 * inJavaScript).toFixed(0)} % JavaScript`;
    lines.push("", `  ${those.length > 1 ? `${those.length} × ` : ""}${kind}${cpu}; ${all} samples`);
    for (const [source, samples] of [...tally(sampled, nameOf)].slice(0, ROWS))
      lines.push(`  ${share(samples, all)}  ${source}`);
  }
  return lines.join("\n");
}
