/** Server-sent events over `fetch`, which can carry a token; `EventSource` cannot. */
export interface ServerEvent {
  event: string;
  data: string;
  id: string | null;
}

/** Cuts a text stream into server-sent events. Pure, but for what it keeps of an unfinished one. */
export class EventParser {
  #rest = "";

  push(text: string): ServerEvent[] {
    const parts = (this.#rest + text.replaceAll("\r\n", "\n")).split("\n\n");
    this.#rest = parts.pop() ?? "";
    return parts.flatMap((part) => {
      const fields = new Map<string, string>();
      for (const line of part.split("\n")) {
        const [, name = "", value = ""] = /^([a-z]+): ?(.*)$/.exec(line) ?? [];
        if (name) fields.set(name, fields.has(name) ? `${fields.get(name)}\n${value}` : value);
      }
      const data = fields.get("data");
      return data === undefined
        ? []
        : [{ event: fields.get("event") ?? "message", data, id: fields.get("id") ?? null }];
    });
  }
}
