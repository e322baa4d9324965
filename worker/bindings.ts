/**
 * What a Worker's configuration gives: its bindings, and SQLite for its classes. What is missing, or of another kind,
 * would be met far inside as a bug of this program. So it is looked for before anything is asked, and the error says
 * what to write.
 */
import type { Env } from "./env.ts";
import { EdgeError } from "./errors.ts";

interface Kind {
  /** What every binding of the kind has. */
  readonly methods: readonly string[];
  /** What only bindings of another kind with the same methods have. */
  readonly without?: string;
  readonly what: string;
  /** What wrangler.jsonc has for it. */
  readonly write: string;
}

const objects = (name: string, className: string): Kind => ({
  methods: ["idFromName", "get"],
  what: `a binding of Durable Objects of the class ${className}`,
  write: `"durable_objects": { "bindings": [{ "name": "${name}", "class_name": "${className}" }] }`,
});

const NEEDED: Readonly<Partial<Record<keyof Env, Kind>>> = {
  LOGS: objects("LOGS", "LogObject"),
  SUBSCRIPTIONS: objects("SUBSCRIPTIONS", "SubscriptionObject"),
};
const OPTIONAL: Readonly<Partial<Record<keyof Env, Kind>>> = {
  SEGMENTS: {
    methods: ["get", "put", "delete"],
    // A namespace of KV has the same three, and would take a segment and give it back as text.
    without: "getWithMetadata",
    what: "a bucket of R2",
    write: `"r2_buckets": [{ "binding": "SEGMENTS", "bucket_name": "…" }]`,
  },
  RATE_LIMIT: { methods: ["limit"], what: "a rate limiter", write: `"ratelimits": [{ "name": "RATE_LIMIT", … }]` },
  EVENTS: {
    methods: ["writeDataPoint"],
    what: "a data set of Analytics Engine",
    write: `"analytics_engine_datasets": [{ "binding": "EVENTS", "dataset": "…" }]`,
  },
};

const isOf = ({ methods, without }: Kind, binding: unknown): boolean => {
  const has = (method: string): boolean => typeof Object(binding)[method] === "function";
  return methods.every(has) && !(without !== undefined && has(without));
};

/** `has`: what the Worker has in its place. */
const fault = (name: string, has: string, { what, write }: Kind): EdgeError =>
  new EdgeError(
    "INTERNAL",
    `the Worker has ${has}; it must be ${what}: write ${write} into wrangler.jsonc, and deploy again`,
    { binding: name },
  );

/** Those that were found to be right. A Worker's `env` stays the same one. */
const checked = new WeakSet<object>();

/** INTERNAL, with the name in `details.binding`, if a binding is missing or of another kind. */
export function checkBindings(env: Env): void {
  if (checked.has(env)) return;
  for (const [name, kind] of Object.entries({ ...NEEDED, ...OPTIONAL })) {
    const binding = env[name as keyof Env] as unknown;
    if (binding === undefined && Object.hasOwn(OPTIONAL, name)) continue;
    if (!isOf(kind, binding))
      throw fault(name, binding === undefined ? `no binding ${name}` : `a binding ${name} of another kind`, kind);
  }
  checked.add(env);
}

/** An object of another class was asked. `name`: the binding that it was asked by. */
export const wrongClass = (name: "LOGS" | "SUBSCRIPTIONS"): EdgeError =>
  fault(name, `a binding ${name} of another class`, NEEDED[name]!);

/** The platform gives SQLite to a class that its configuration made with it. Others can't be given it later. */
export function queried<R>(query: () => R): R {
  try {
    return query();
  } catch (thrown) {
    if (!/^SQL is not enabled/.test((thrown as Partial<Error>).message ?? "")) throw thrown;
    throw new EdgeError(
      "INTERNAL",
      "the class of this Durable Object was made without SQLite: in the migrations of wrangler.jsonc write " +
        '"new_sqlite_classes" in place of "new_classes"; a class that was deployed like that needs another name',
      { migration: "new_sqlite_classes" },
      { cause: thrown },
    );
  }
}
