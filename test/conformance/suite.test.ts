/** The published conformance suite of Durable Streams, unchanged, against the server whose address run.ts passes in. */
import { runConformanceTests } from "@durable-streams/server-conformance-tests";
import { inject } from "vitest";

declare module "vitest" {
  interface ProvidedContext {
    baseUrl: string;
    longPollMs: number;
  }
}

runConformanceTests({ baseUrl: inject("baseUrl"), longPollTimeoutMs: inject("longPollMs"), subscriptions: true });
