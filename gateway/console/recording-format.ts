/** What a recording's first line says; apart from the schemas, so that the page need not carry those. */
export const RECORDING_FORMAT = "dfs-recording";
export const RECORDING_VERSION = 1;
