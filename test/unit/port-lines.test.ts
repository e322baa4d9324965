/** A data port with more calls than its limits allow at once, and with numbers that no call may have. */
import { describe, expect, it, vi } from "vitest";
import { PortClient } from "../../src/browser/port/port-client.ts";
import { type PortHost, PortServer } from "../../src/browser/port/port-server.ts";
import { type Request, REQUESTS_MAX } from "../../src/browser/port/protocol.ts";
import { TidemarkError } from "../../src/errors.ts";
import type { LogApi } from "../../src/log/types.ts";
import { fails } from "../contract/check.ts";

function connected(log: Partial<LogApi>, manage: PortHost["manage"] = async () => undefined) {
  const { port1, port2 } = new MessageChannel();
  const server = new PortServer(port2 as globalThis.MessagePort, {
    readable: async () => ({ log: log as LogApi, born: 1 }),
    writable: async () => ({ log: log as LogApi, born: 1 }),
    manage,
    appended: () => undefined,
    failed: () => undefined,
  });
  const client = new PortClient(port1 as globalThis.MessagePort);
  return { client, server, end: () => client.fail(new TidemarkError("CLOSED", "the test is over")) };
}

const batch = () => new Uint8Array(10);
const upTo = (count: number) => Array.from({ length: count }, (_, i) => i);

describe("a data port", () => {
  it("that is over waits for its worker's lock no more: the browser would keep both while another tab leads", () => {
    const asked = vi.spyOn(navigator.locks, "request").mockReturnValue(new Promise(() => undefined));
    const client = new PortClient(new MessageChannel().port1 as globalThis.MessagePort, "lock");
    client.watch();
    const { signal } = asked.mock.calls[0]![1] as LockOptions;
    asked.mockRestore();
    expect(signal!.aborted).toBe(false);
    client.fail(new TidemarkError("CLOSED", "the test is over"));
    expect(signal!.aborted).toBe(true);
  });

  it("holds back topics, appends and reads beyond its limits, in order, and pings overtake them", async () => {
    const seen: string[] = [];
    let most = 0;
    let server: PortServer;
    let go!: () => void;
    const gate = new Promise<void>((resolve) => (go = resolve));
    const note = async (what: string): Promise<never> => {
      seen.push(what);
      most = Math.max(most, server.running.size);
      await gate;
      return {} as never;
    };
    const made = connected(
      {
        append: (_, options) => note(`append ${(options as { topic?: string }).topic}`),
        resolve: (position) => note(`resolve ${String(position)}`),
      },
      (request) => note(`topic ${(request as { topic: string }).topic}`),
    );
    ({ server } = made);
    const { client, end } = made;
    const work = upTo(3000).flatMap((i) => [
      client.call({ op: "topic", topic: `t${i}`, settings: {} }),
      client.append({ topic: `t${i}`, batch: batch() }),
    ]);
    const reads = upTo(3000).map((i) => client.call({ op: "resolve", topic: "t", position: i }));
    await client.ping();
    go();
    await Promise.all([...work, ...reads]);
    expect(seen.filter((what) => !what.startsWith("resolve"))).toEqual(
      upTo(3000).flatMap((i) => [`topic t${i}`, `append t${i}`]),
    );
    expect(seen.filter((what) => what.startsWith("resolve"))).toEqual(upTo(3000).map((i) => `resolve ${i}`));
    expect(most).toBeGreaterThan(REQUESTS_MAX / 2);
    expect(most).toBeLessThanOrEqual(REQUESTS_MAX);
    end();
  });

  it("waiting reads may take all its places: the next call waits, and is sent when one of them has left", async () => {
    const { client, end } = connected({
      fetch: (_, options) =>
        new Promise((__, reject) =>
          options!.signal!.addEventListener("abort", () => reject(options!.signal!.reason as Error)),
        ),
      resolve: async () => 7,
    });
    const leave = new AbortController();
    const parked = upTo(REQUESTS_MAX).map(() =>
      client.call({ op: "fetch", topic: "t", from: 0, wait: true }, leave.signal).catch((thrown: unknown) => thrown),
    );
    await fails("LIMIT_EXCEEDED", client.call({ op: "resolve", topic: "t", position: "latest" }));
    leave.abort(new Error("left"));
    await Promise.all(parked);
    expect(await client.call({ op: "resolve", topic: "t", position: "latest" })).toEqual({ offset: 7, born: 1 });
    end();
  });

  it("a call that is held back can be aborted, and ends with the port", async () => {
    const { client, end } = connected({
      resolve: () => new Promise(() => undefined),
      fetch: () => new Promise(() => undefined),
    });
    const held = upTo(REQUESTS_MAX + 10).map(() =>
      client.call({ op: "resolve", topic: "t", position: 0 }).catch((thrown: TidemarkError) => thrown.code),
    );
    const leave = new AbortController();
    const left = client.call({ op: "fetch", topic: "t", from: 0 }, leave.signal);
    leave.abort(new Error("left"));
    await expect(left).rejects.toThrow("left");
    end();
    expect(new Set(await Promise.all(held))).toEqual(new Set(["CLOSED"]));
  });

  it("a call that can't be sent fails alone", async () => {
    const { client, end } = connected({ append: async () => ({}) as never });
    const shared = new Uint8Array(new SharedArrayBuffer(2));
    const outcomes = await Promise.allSettled(
      [batch(), shared, batch()].map((each) => client.append({ topic: "t", batch: each })),
    );
    expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    end();
  });

  it("refuses messages that no page of ours would send, by the field's name", async () => {
    const { client, end } = connected({
      fetch: async () => ({}) as never,
      resolve: async () => 0,
      append: async () => ({}) as never,
    });
    const fetch = { op: "fetch", topic: "t", from: 0 };
    const resolve = { op: "resolve", topic: "t", position: 0 };
    // Each message needs bytes of its own, since they are transferred.
    const append = {
      op: "append",
      topic: "t",
      get batch() {
        return batch();
      },
    };
    const COUNTS = [-1, 1.5, NaN, Infinity, 2 ** 53, "5", null, 5n];
    const wrong: [object, string, readonly unknown[]][] = [
      [fetch, "maxBytes", [0, ...COUNTS]],
      [fetch, "from", [1.5, NaN, Infinity, "5", null, undefined]],
      [fetch, "wait", [1, "yes", null]],
      [fetch, "verify", [1, null]],
      [fetch, "isolation", ["x", null, 1]],
      [
        resolve,
        "position",
        [
          undefined,
          null,
          "first",
          NaN,
          -1,
          {},
          { last: -1 },
          { last: NaN },
          { timestamp: NaN },
          { timestamp: "1" },
          { last: 1, timestamp: 1 },
        ],
      ],
      [append, "ifEnd", COUNTS],
      [append, "acks", ["all", null, 1]],
      [append, "batch", [undefined, [1], "x", new ArrayBuffer(2)]],
      [fetch, "topic", [undefined, 5, null]],
      [fetch, "op", ["constructor", 5]],
    ];
    for (const [request, field, values] of wrong) {
      for (const value of values) {
        const error = await fails("INVALID_ARGUMENT", client.call({ ...request, [field]: value } as Request));
        expect(error.message, `${field}: ${String(value)}`).toMatch(
          new RegExp(`^INVALID_ARGUMENT: ${field}\\b.* must be `),
        );
      }
    }
    for (const request of [fetch, { ...fetch, maxBytes: 1, wait: true }, resolve, append])
      expect(await client.call(request as Request)).toBeDefined();
    end();
  });
});

it.each([
  [false, 1],
  [true, 0],
])("the memory of a large batch comes back with its ack, unless the port copies (%s)", async (copies, back) => {
  const result = { baseOffset: 0, lastOffset: 0, duplicate: false, leaderEpoch: 1, acks: "flushed" as const };
  const { client, server, end } = connected({ append: async () => result });
  server.copies = copies;
  const ack = await client.append({ topic: "t", batch: new Uint8Array(64 * 1024) });
  expect(Number("memory" in ack)).toBe(back);
  end();
});
