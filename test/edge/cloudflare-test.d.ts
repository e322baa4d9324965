// Types of the parts of Cloudflare's Vitest plugin that the tests inside workerd use.
declare module "cloudflare:test" {
  export const env: import("../../worker/env.ts").Env;
  export const SELF: { fetch(input: string | Request, init?: RequestInit): Promise<Response> };
  export function runInDurableObject<T>(
    stub: never,
    work: (instance: unknown, state: never) => Promise<T> | T,
  ): Promise<T>;
  export function runDurableObjectAlarm(stub: never): Promise<boolean>;
  export function evictDurableObject(stub: never, options?: { webSockets?: "hibernate" | "close" }): Promise<void>;
  export function abortAllDurableObjects(): Promise<void>;
  export function listDurableObjectIds(namespace: never): Promise<unknown[]>;
}
