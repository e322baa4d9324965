/** Windows of follows are granted as there is room: the total never exceeds its bound, and no follow waits for ever. */
import { describe, expect, it } from "vitest";
import {
  BASE_BYTES,
  FREE_BYTES,
  HARD_BYTES,
  type Requests,
  REQUESTS_MAX,
  SocketCredits,
} from "../../worker/front/socket-credits.ts";
import { Random } from "../simulation/prng.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const WINDOW = 256 * KIB;

describe("credits of a socket", () => {
  it("a window is granted at once where there is room, and none is refused where there is none", () => {
    const credits = new SocketCredits();
    const granted = Array.from({ length: 256 }, () => credits.follow(new Map(), 1, WINDOW, () => undefined));
    expect(granted.slice(0, 64)).toEqual(Array(64).fill(WINDOW));
    expect(new Set(granted.slice(64))).toEqual(new Set([BASE_BYTES]));
    expect(credits.bytes).toBe(64 * WINDOW + 192 * BASE_BYTES);
  });

  it("the end of a follow makes room for those that wait, in turn", () => {
    const credits = new SocketCredits();
    const first: Requests = new Map();
    credits.follow(first, 1, 8 * MIB, () => undefined);
    credits.follow(first, 2, 8 * MIB, () => undefined);
    const got = [0, 0];
    const others = got.map((_, i) => {
      const requests: Requests = new Map();
      got[i] = credits.follow(requests, 1, 8 * MIB, (bytes) => (got[i]! += bytes));
      return requests;
    });
    expect(got).toEqual([BASE_BYTES, BASE_BYTES]);
    credits.end(first, 1);
    // Each gets half of it, apart from what it had before.
    expect(got[0]! + got[1]!).toBe(8 * MIB);
    expect(Math.abs(got[0]! - got[1]!)).toBeLessThanOrEqual(256 * KIB);
    credits.drop(first);
    for (const requests of others) credits.drop(requests);
    expect(credits.bytes).toBe(0);
  });

  it("a batch larger than the grant is taken from what is held; if that is too little, the client is told", () => {
    const credits = new SocketCredits();
    for (let i = 0; i < 64; i++) credits.follow(new Map(), 1, WINDOW, () => undefined);
    const requests: Requests = new Map();
    const grants: number[] = [];
    expect(credits.follow(requests, 1, WINDOW, (bytes) => grants.push(bytes))).toBe(BASE_BYTES);
    expect(credits.starved(requests, 1, 100 * KIB)).toBe(true);
    expect(grants).toEqual([100 * KIB - BASE_BYTES]);
    credits.sent(requests, 1, 100 * KIB);
    expect(credits.starved(requests, 1, MIB)).toBe(false);
    credits.more(requests, 1, MIB - WINDOW);
    expect(grants.slice(1)).toEqual([BASE_BYTES]);
    credits.more(requests, 1, 100 * KIB);
    expect(grants.slice(2)).toEqual([MIB - BASE_BYTES]);
  });

  it("bytes that the client has not read count, and a fetch waits for room", () => {
    const credits = new SocketCredits();
    const requests: Requests = new Map();
    let begun = 0;
    const fetch = (id: number) => credits.fetch(requests, id, MIB, () => begun++);
    for (let id = 1; id <= 40; id++) fetch(id);
    expect([begun, credits.bytes]).toEqual([32, HARD_BYTES]);
    for (let id = 1; id <= 32; id++) credits.sent(requests, id, MIB);
    expect([begun, credits.bytes]).toEqual([32, HARD_BYTES]);
    credits.read(4 * MIB);
    expect(begun).toBe(36);
    credits.end(requests, 39);
    credits.read(28 * MIB);
    expect(begun).toBe(39);
  });

  it("requests, windows and ids are checked, and a refused one leaves nothing behind", () => {
    const credits = new SocketCredits();
    const requests: Requests = new Map();
    expect(() => credits.follow(requests, 1, 8 * MIB + 1, () => undefined)).toThrow(
      expect.objectContaining({ code: "LIMIT_EXCEEDED" }),
    );
    credits.follow(requests, 1, 1, () => undefined);
    expect(() => credits.follow(requests, 1, 1, () => undefined)).toThrow(
      expect.objectContaining({ code: "INVALID_ARGUMENT" }),
    );
    expect(() => credits.more(requests, 1, 8 * MIB)).toThrow(expect.objectContaining({ code: "LIMIT_EXCEEDED" }));
    for (let id = 2; id <= REQUESTS_MAX; id++) credits.follow(requests, id, 1, () => undefined);
    expect(() => credits.fetch(requests, 5_000, 1, () => undefined)).toThrow(
      expect.objectContaining({ code: "LIMIT_EXCEEDED" }),
    );
    expect(credits.bytes).toBe(REQUESTS_MAX);
    credits.drop(requests);
    credits.more(requests, 1, 5);
    expect(credits.bytes).toBe(0);
  });

  it.each([1, 2, 3, 4, 5])(
    "any logs and a client that reads: all of it arrives, and never more is held than may be, seed %i",
    (seed) => {
      const random = new Random(seed);
      const credits = new SocketCredits();
      const logs = Array.from({ length: 1 + random.int(300) }, () => ({
        requests: new Map() as Requests,
        credit: 0,
        isStarved: false,
        window: 0,
        batches: Array.from({ length: random.int(12) }, () => 1 + random.int(random.chance(0.2) ? MIB : 20 * KIB)),
      }));
      type Fake = (typeof logs)[number];
      let [unread, delivered, rounds] = [0, 0, 0];
      const expected = logs.flatMap(({ batches }) => batches).reduce((sum, bytes) => sum + bytes, 0);
      const inbox: { log: Fake; bytes: number }[] = [];
      const grant = (log: Fake) => (bytes: number) => {
        log.credit += bytes;
        log.isStarved = false;
      };
      for (const log of logs) {
        log.window = 1 + random.int(2 * WINDOW);
        log.credit += credits.follow(log.requests, 1, log.window, grant(log));
      }
      while (delivered < expected) {
        if (++rounds > 200_000) throw new Error(`stuck at ${delivered} of ${expected}`);
        const log = logs[random.int(logs.length)]!;
        const [next] = log.batches;
        if (next !== undefined && !log.isStarved) {
          if (next <= log.credit) {
            log.batches.shift();
            log.credit -= next;
            credits.sent(log.requests, 1, next);
            inbox.push({ log, bytes: next });
            unread += next;
          } else {
            log.isStarved = true;
            // What src/sync/edge-socket.ts does when it is told that its window is too small.
            if (!credits.starved(log.requests, 1, next) && next > log.window) {
              credits.more(log.requests, 1, next - log.window);
              log.window = next;
            }
          }
        }
        expect(credits.bytes).toBeLessThanOrEqual(HARD_BYTES);
        if (!random.chance(0.3) || inbox.length === 0) continue;
        const read = inbox.splice(0, 1 + random.int(inbox.length));
        for (const { log: from, bytes } of read) {
          delivered += bytes;
          unread -= bytes;
          credits.read(bytes);
          credits.more(from.requests, 1, bytes);
        }
      }
      expect(unread).toBe(0);
      expect(credits.bytes).toBeLessThanOrEqual(FREE_BYTES + logs.length * BASE_BYTES);
      for (const { requests } of logs) credits.drop(requests);
      expect(credits.bytes).toBe(0);
    },
  );
});
