/** What a socket's session attaches to it: older runtimes take 2 KiB. */
import { serialize } from "node:v8";
import { expect, it } from "vitest";
import { save, sessionOf } from "../../worker/log-object/socket-session.ts";

it("fits with as many follows as a socket may have, at the largest offsets and credits, and with a join", () => {
  let attached: unknown = { channel: 65_535, isTimed: true, follows: [] };
  const socket = {
    send: () => undefined,
    close: () => undefined,
    serializeAttachment: (value: unknown) => void (attached = value),
    deserializeAttachment: () => attached,
  };
  const session = sessionOf(socket);
  for (let i = 0; i < 16; i++) {
    const id = 2 ** 32 - 1 - i;
    session.follows.set(id, { id, next: Number.MAX_SAFE_INTEGER - i, credits: 8 * 1024 * 1024 - i, starved: true });
  }
  const most = 2 ** 31 - 1;
  const sync = { outbox: "f".repeat(16), owner: "o".repeat(12), life: "f".repeat(16), generation: most, term: most };
  session.sync = { ...sync, skipsOwn: true };
  save(session);
  expect(serialize(attached).length).toBeLessThan(1_100);
  const again = sessionOf(socket);
  expect([again.follows, again.sync, again.isTimed]).toEqual([session.follows, session.sync, true]);
});
