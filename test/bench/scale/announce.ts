/** Says the port to whoever started this server, and ends with them. */
export function announce({ port }: { port: number | undefined }): void {
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(0));
  process.stdin.on("end", () => process.exit(0)).resume();
  console.log(port);
}
