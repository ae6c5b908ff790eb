/** Load generator: makes the data of a master that holds one directory of very many names. */
import { type FilledMaster, MasterFilling } from "./fill-master.ts";
import { runAsLoad } from "./load-process.ts";
import { createEmpty, nameOf } from "./numbered-files.ts";

export interface FillDirectoryTask extends FilledMaster {
  directory: string;
  names: number;
}

await runAsLoad<FillDirectoryTask, { names: number }>(async ({ directory, names, ...master }) => {
  const filling = new MasterFilling(master);
  return async () => {
    filling.apply(names, (n) => createEmpty(`${directory}/${nameOf(n)}`));
    filling.finish();
    return { names };
  };
});
