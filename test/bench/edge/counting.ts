/** A worker that tells how many rows it has written, as the platform bills them. */
import type { PlantedBug } from "../../support/planted-bug.ts";

/** The worker counts the rows it writes, as the platform bills them, and answers a request for "/" with the count. */
export const COUNTING: readonly PlantedBug[] = [
  {
    name: "rows counted",
    file: "worker/log-object/platform.ts",
    find: "exec: (query, ...bindings) => storage.sql.exec(query, ...bindings) as Iterable<SqlRow>,",
    replace:
      "exec: (query, ...bindings) => { const cursor = storage.sql.exec(query, ...bindings) as any; const rows = " +
      "[...cursor]; (globalThis as any).rows = ((globalThis as any).rows ?? 0) + cursor.rowsWritten; return rows " +
      "as Iterable<SqlRow>; },",
  },
  {
    name: "rows told",
    file: "worker/index.ts",
    find: "handle(request, env",
    replace:
      'new URL(request.url).pathname === "/rows" ? Promise.resolve(new Response(String((globalThis as any).rows ?? ' +
      "0))) : handle(request, env",
  },
];
