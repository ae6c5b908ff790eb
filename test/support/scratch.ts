/** Folders for tests that are not about what survives a crash: in memory where the system offers that, so that no disk is waited for. */
import { existsSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const IN_MEMORY = "/dev/shm";

/** @returns the path of a new folder; the test removes it */
export const scratchFolder = (prefix: string): string =>
  mkdtempSync(join(existsSync(IN_MEMORY) ? IN_MEMORY : tmpdir(), prefix));
