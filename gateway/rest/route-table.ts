/** Which routes there are: for 405, for metrics' labels, and for the OpenAPI document. */

export interface Route {
  /** As OpenAPI writes it, e.g. `/files/{path}`. */
  pattern: string;
  methods: string[];
  matches: RegExp;
}
export type RouteTable = Route[];

/** A route as Elysia lists it. */
interface DeclaredRoute {
  method: string;
  path: string;
}

/** `/files/*` → `/files/{path}`, `/uploads/:id` → `/uploads/{id}` */
export const patternOf = (path: string): string => path.replace(/\*$/, "{path}").replace(/:(\w+)/g, "{$1}");

export function routeTable(declared: readonly DeclaredRoute[]): RouteTable {
  const table: RouteTable = [];
  for (const [path, routes] of Map.groupBy(declared, (route) => route.path)) {
    const methods = routes.map(({ method }) => method);
    if (methods.includes("GET")) methods.push("HEAD");
    const source = path.replace(/[.\\]/g, "\\$&").replace(/\*$/, ".+").replace(/:\w+/g, "[^/]+");
    table.push({ pattern: patternOf(path), methods, matches: new RegExp(`^${source}/?$`) });
  }
  return table;
}

/** A slash at the end makes no difference, as in the router. */
export const findRoute = (table: RouteTable, path: string): Route | null =>
  table.find(({ matches }) => matches.test(path)) ?? null;
