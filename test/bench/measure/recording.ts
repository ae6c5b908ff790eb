/** What it costs that every node records: two clusters up at once, one that does and one that does not, in turns. */
import projectConfig from "../../../config.json";
import { type ApartMeasurement, type ApartSession, AS_SHIPPED, type Figure, figuresOf } from "../measurement.ts";
import { OPERATIONS } from "../operations.ts";
import { inTurns, ratioOf } from "../pairs.ts";

const WATCHED = new Set(["create-4k", "read-4k", "delete-4k", "put"]);
const QUANTITIES = { ".rate": "rate", ".cpu": "CPU of all nodes" };

async function runApart(session: ApartSession): Promise<Figure[]> {
  const { sizes, say } = session;
  const recording = (enabled: boolean) => ({
    ...AS_SHIPPED,
    config: { recording: { ...projectConfig.recording, enabled } },
  });
  return session.withClusters([recording(true), recording(false)], async (ours, theirs) => {
    const operations = OPERATIONS.filter(({ id }) => WATCHED.has(id));
    const pairs = await inTurns({ ours, theirs, operations, turns: sizes.turns, amount: sizes.perTurn, say });
    return figuresOf(
      session,
      ...operations.flatMap(({ id, label }) =>
        Object.entries(QUANTITIES).flatMap(([quantity, what]) => {
          const found = pairs.find((one) => one.id === id + quantity);
          if (!found) return [];
          const { mean, error } = ratioOf(found);
          const note = `± ${error === null ? "?" : (100 * error).toFixed(1)} (standard error), ${sizes.turns} turns`;
          const name = id.replace("-4k", "");
          return [
            {
              id: `recording.${name}${quantity}`,
              label: `${label}, ${what}, on against off`,
              value: 100 * (mean - 1),
              unit: "%",
              note,
            },
          ];
        }),
      ),
    );
  });
}

export const recording: ApartMeasurement = {
  name: "recording",
  title: "Recording, on against off",
  where: "disk",
  runApart,
};
