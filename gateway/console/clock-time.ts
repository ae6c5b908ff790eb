const pad = (n: number, width = 2): string => String(n).padStart(width, "0");

/** `23:14:05.312`, in the reader's own time zone. */
export function clockTime(ms: number, withMs = true): string {
  const at = new Date(ms);
  const time = `${pad(at.getHours())}:${pad(at.getMinutes())}:${pad(at.getSeconds())}`;
  return withMs ? `${time}.${pad(at.getMilliseconds(), 3)}` : time;
}
