/**
 * Where data was kept by earlier programs: until node data had a folder of its own, `databases/data`, it lay in
 * `databases/` itself, among the source.
 *
 * @returns null if the data of this directory was never elsewhere
 */
export const formerDataDirectory = (dataDirectory: string): string | null =>
  /[/\\]databases[/\\]data$/.test(dataDirectory) ? dataDirectory.slice(0, -"/data".length) : null;
