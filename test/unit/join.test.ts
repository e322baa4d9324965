/** What a tab does with a worker's first message, by the worker's term (src/browser/tabs/joiner.ts). */
import { expect, test, vi } from "vitest";
import { Broker } from "../../src/browser/tabs/broker-client.ts";
import type { Member } from "../../src/browser/tabs/member.ts";
import { refusePast } from "../../src/browser/tabs/joiner.ts";
import type { PortClient } from "../../src/browser/port/port-client.ts";
import type { TidemarkError } from "../../src/errors.ts";

/** Why a tab that knows of one epoch refuses a worker of another, or undefined if it does not. */
async function failureOf(said: number, known: number | undefined): Promise<string | undefined> {
  let failure: string | undefined;
  const ready = Promise.resolve({ epoch: said });
  const connection = { ready, fail: ({ code }: TidemarkError) => void (failure = code) } as PortClient;
  refusePast({ opened: known === undefined ? undefined : { epoch: known } } as Member, connection);
  await ready;
  return failure;
}

test("a term older than the newest known one is neither followed nor led; the same and later terms are", async () => {
  expect(await failureOf(2, 3)).toBe("CLOSED");
  for (const [said, known] of [
    [3, 3],
    [4, 3],
    [1, undefined],
  ] as const)
    expect(await failureOf(said, known)).toBe(undefined);
});

test("a worker that never sends a message leaves no unhandled rejection", async () => {
  refusePast({} as Member, { ready: Promise.reject(new Error("gone")) } as PortClient);
  await new Promise((resolve) => setImmediate(resolve));
});

test("a connection to the broker that is closed tells nothing, and keeps nothing of its tide", () => {
  const made: { onerror?: unknown; readonly port: { onmessage?: (event: object) => void; close(): void } }[] = [];
  vi.stubGlobal(
    "SharedWorker",
    class {
      readonly port = { close: () => undefined };
      constructor() {
        made.push(this);
      }
    },
  );
  const told: unknown[] = [];
  const broker = new Broker((join) => told.push(join));
  vi.unstubAllGlobals();
  const { port } = made[0]!;
  port.onmessage!({ data: { join: 1 } });
  broker.close();
  // The browser keeps a SharedWorker as long as the page is there, and with it this listener.
  port.onmessage!({ data: { join: 2 } });
  expect(told).toEqual([1]);
});
