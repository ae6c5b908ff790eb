/** The routes of a gateway and which of them are public. Used for authentication, 405, metrics' labels and OpenAPI. */

export interface Route {
  /** As it was declared, e.g. `/files/*`. */
  path: string;
  /** As OpenAPI writes it, e.g. `/files/{path}`. */
  pattern: string;
  methods: string[];
  /** Those of the methods that need no token. */
  publicMethods: string[];
  matches: RegExp;
}
export type RouteTable = Route[];

/** A route as Elysia lists it. In OpenAPI's words an empty `security` needs no credential. */
interface DeclaredRoute {
  method: string;
  path: string;
  hooks: { detail?: { security?: unknown[] } };
}

/** `/files/*` → `/files/{path}`, `/uploads/:id` → `/uploads/{id}` */
export const patternOf = (path: string): string => path.replace(/\*$/, "{path}").replace(/:(\w+)/g, "{$1}");

export function routeTable(declared: readonly DeclaredRoute[]): RouteTable {
  const table: RouteTable = [];
  for (const [path, routes] of Map.groupBy(declared, (route) => route.path)) {
    const withHead = (methods: string[]) => (methods.includes("GET") ? [...methods, "HEAD"] : methods);
    const methods = withHead(routes.map(({ method }) => method));
    const open = routes.filter(({ hooks }) => hooks.detail?.security?.length === 0);
    const publicMethods = withHead(open.map(({ method }) => method));
    const source = path.replace(/[.\\]/g, "\\$&").replace(/\*$/, ".+").replace(/:\w+/g, "[^/]+");
    table.push({ path, pattern: patternOf(path), methods, publicMethods, matches: new RegExp(`^${source}/?$`) });
  }
  return table;
}

/** @param matched the path that the router's match was declared with; what is not in the table is not public */
export const isPublic = (table: RouteTable, method: string, matched: string): boolean =>
  table.some(({ path, publicMethods }) => path === matched && publicMethods.includes(method));

/** A slash at the end makes no difference, as in the router. */
export const findRoute = (table: RouteTable, path: string): Route | null =>
  table.find(({ matches }) => matches.test(path)) ?? null;
