/** @returns where a gateway serves a file, below its address, e.g. `/files/a%20b/c` */
export const urlOfFile = (path: string): string => `/files/${path.split("/").map(encodeURIComponent).join("/")}`;
