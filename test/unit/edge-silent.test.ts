/**
 * A WebSocket whose client has fallen silent: the edge pings it, then gives it up, and its places in the logs' objects
 * become free.
 */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Caller } from "../../worker/front/auth.ts";
import type { Env } from "../../worker/env.ts";
import { upgrade } from "../../worker/front/client-socket.ts";

const SILENT_MS = 30_000;
const caller: Caller = { tenant: "t", subject: "", isOpen: false, expires: undefined, require: () => undefined };

/** One end of a socket. It keeps what was sent to it and how it was closed. */
class FakeSocket extends EventTarget {
  binaryType = "";
  readonly sent: unknown[] = [];
  closed: number | undefined;
  isBroken = false;
  accept(): void {}
  send(data: unknown): void {
    if (this.isBroken) throw new TypeError("the other side has gone");
    this.sent.push(data);
  }
  close(code = 1005): void {
    this.closed ??= code;
  }
  says(data: unknown): void {
    this.dispatchEvent(Object.assign(new Event("message"), { data }));
  }
}

const status = (socket: FakeSocket): Response =>
  ({ status: 101, webSocket: socket, headers: new Headers() }) as unknown as Response;

async function connected(): Promise<{ client: FakeSocket; log: FakeSocket }> {
  const [client, log] = [new FakeSocket(), new FakeSocket()];
  vi.stubGlobal(
    "WebSocketPair",
    class {
      0 = {};
      1 = client;
    },
  );
  // Node's Response takes no status 101.
  vi.stubGlobal(
    "Response",
    class {
      constructor(
        readonly body: null,
        readonly init: object,
      ) {}
    },
  );
  await upgrade(new Request("https://edge.invalid/"), {} as Env, () => async () => status(log), caller, "path");
  return { client, log };
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

describe("a client that says nothing", () => {
  it("is pinged after a while, and given up a while later", async () => {
    const { client, log } = await connected();
    vi.advanceTimersByTime(2 * SILENT_MS);
    expect([client.sent, client.closed, log.closed]).toEqual([["ping"], undefined, undefined]);
    vi.advanceTimersByTime(SILENT_MS);
    expect([client.sent, client.closed, log.closed]).toEqual([["ping"], 4408, 1000]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("stays when it answers, by whatever message", async () => {
    for (const answer of ["pong", "ping"]) {
      const { client, log } = await connected();
      for (let i = 0; i < 20; i++) {
        vi.advanceTimersByTime(SILENT_MS / 2);
        if (i % 3 === 2) client.says(answer);
      }
      expect([client.closed, log.closed]).toEqual([undefined, undefined]);
      client.close();
      client.dispatchEvent(new Event("error"));
      expect([log.closed, vi.getTimerCount()]).toEqual([1000, 0]);
    }
  });

  it.each([
    ["just before a look", -1, 1, 2],
    ["just after one", 1, 2, 3],
  ] as const)("is asked 30 to 60 s and given up 60 to 90 s after its last word: %s", async (_, past, asked, given) => {
    const { client } = await connected();
    vi.advanceTimersByTime(SILENT_MS + past);
    client.says("pong");
    vi.advanceTimersByTime(asked * SILENT_MS - past - 1);
    expect([client.sent, client.closed]).toEqual([[], undefined]);
    vi.advanceTimersByTime(1 + (past < 0 ? -2 * past : 0));
    expect([client.sent, client.closed]).toEqual([["ping"], undefined]);
    vi.advanceTimersByTime((given - asked) * SILENT_MS);
    expect(client.closed).toBe(4408);
  });

  it("is given up at once when the ping cannot be sent", async () => {
    const { client, log } = await connected();
    client.isBroken = true;
    vi.advanceTimersByTime(2 * SILENT_MS);
    expect([log.closed, vi.getTimerCount()]).toEqual([1000, 0]);
  });
});
