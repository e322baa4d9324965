/** Workers that differ from the real one in what a benchmark compares or counts. */
import type { PlantedBug } from "../../support/planted-bug.ts";

/** The worker counts the rows it writes, as the platform bills them, and answers a request for "/" with the count. */
export const COUNTING: readonly PlantedBug[] = [
  {
    name: "rows counted",
    file: "worker/log-object/platform.ts",
    find: "fitted(() => queried(() => storage.sql.exec(query, ...bindings))) as Iterable<SqlRow>,",
    replace:
      "{ const cursor = storage.sql.exec(query, ...bindings) as any; const rows = " +
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

/** The worker without group commit: each append is a commit of its own, made as soon as the append arrives. */
export const NO_GROUP_COMMIT: readonly PlantedBug[] = [
  {
    name: "one append per commit",
    file: "src/log/log.ts",
    find: "const group = this.#queue.take();",
    replace: "const group = this.#queue.takeFirst();",
  },
  {
    name: "the queue gives its first append alone",
    file: "src/log/append-queue.ts",
    find: "  /** Takes all appends",
    replace: `
  takeFirst() {
    const [first] = this.#appends.splice(0, 1);
    if (!first) return [];
    this.#bytes -= first.batch.length;
    return [first];
  }

  /** Takes all appends`,
  },
  {
    name: "no waiting for others",
    file: "src/log/log.ts",
    find: "await this.#commit(group);\n      await this.#breathe?.(group.length);",
    replace: "await this.#commit(group);",
  },
];
