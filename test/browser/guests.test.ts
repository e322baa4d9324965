/** The leader's worker and a guest whose tab is gone: what is answered too late goes nowhere, and throws nowhere. */
import { expect, it } from "vitest";
import { takeLock } from "../../src/browser/platform/locks.ts";
import { admit, type GuestHost } from "../../src/browser/worker/guests.ts";

it.each(["port", "broadcast"])("over a %s, an answer that comes when the tab is gone is dropped", async (via) => {
  const life = `tidemark-port:${via}`;
  const release = await takeLock(life, {});
  let answered!: (late: Promise<void>) => void;
  const late = new Promise<void>((resolve) => (answered = resolve));
  const host = {
    servers: new Set(),
    serve: (port: MessagePort) => ({
      running: new Map([
        [
          1,
          {
            abort: () =>
              answered(
                Promise.resolve()
                  .then(() => Promise.resolve())
                  .then(() => port.postMessage("late")),
              ),
          },
        ],
      ]),
    }),
  };
  admit(host as unknown as GuestHost, { op: "join", port: via === "port" ? new MessageChannel().port1 : life, life });
  release!();
  await expect(late).resolves.toBeUndefined();
});

it.each(["close", "join", "leave"] as const)("a guest may not ask for %s", async (op) => {
  let manage!: (request: object) => Promise<unknown>;
  const host = {
    servers: new Set(),
    serve: (_: MessagePort, given: typeof manage) => {
      manage = given;
      return { running: new Map() };
    },
    manage: () => Promise.resolve("done"),
  };
  const life = `tidemark-port:${op}`;
  const release = await takeLock(life, {});
  admit(host as unknown as GuestHost, { op: "join", port: new MessageChannel().port1, life });
  await expect(manage({ op })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  await expect(manage({ op: "ready" })).resolves.toBe("done");
  release!();
});
