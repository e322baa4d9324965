/**
 * The WebSocket dialect inside workerd, through our client: append and follow, many logs on one socket, and what
 * clients see when an object is evicted or reset.
 */
import { abortAllDurableObjects, evictDurableObject, runInDurableObject, SELF } from "cloudflare:test";
import { describe, expect, it } from "vitest";
import { at, batchOf, bind, fresh, make, many, objectOf, post, take, TEXT, textsOf } from "./socket-tools.ts";

describe("append and follow", () => {
  it("acks carry base offsets; followers get the records in order, and HTTP readers the same ones", async () => {
    const path = await make(fresh(), "zero ");
    const [writer, reader] = [await bind(path), await bind(path)];
    const follow = reader.follow("earliest");
    expect(await take(follow, 1)).toEqual(["zero "]);
    // Not awaited one by one: appends are ordered by their calls.
    const acks = await Promise.all(
      Array.from({ length: 40 }, (_, i) => writer.append([batchOf([`${i}a `, `${i}b `], 5, i * 2)])),
    );
    expect(acks.map(([ack]) => ack!.baseOffset)).toEqual(Array.from({ length: 40 }, (_, i) => 1 + i * 2));
    const expected = Array.from({ length: 40 }, (_, i) => [`${i}a `, `${i}b `]).flat();
    expect(await take(follow, 80)).toEqual(expected);
    await post(path, "http ");
    expect(await take(follow, 1)).toEqual(["http "]);
    expect(await (await SELF.fetch(`${at(path)}?offset=-1`)).text()).toBe(["zero ", ...expected, "http "].join(""));
    await follow.return(undefined);
    writer.socket.close();
    reader.socket.close();
  });

  it("starts at an offset, the end or a time; fetch answers once; a closed log ends its follows", async () => {
    const path = await make(fresh());
    const log = await bind(path);
    for (const value of ["a", "b", "c"]) await log.append([batchOf([value])]);
    expect(await take(log.follow(2), 1)).toEqual(["c"]);
    expect(textsOf({ bytes: await log.fetch(1) })).toEqual(["b", "c"]);
    expect((await log.fetch("latest")).length).toBe(0);
    expect(textsOf({ bytes: await log.fetch({ timestamp: 1_000 }) })).toEqual(["a", "b", "c"]);
    await expect(log.fetch(9)).rejects.toMatchObject({ code: "OFFSET_OUT_OF_RANGE" });
    const follow = log.follow("latest");
    const rest = take(follow, Infinity);
    // The answer to a later request shows that the follow has begun.
    await log.fetch("latest");
    await SELF.fetch(at(path), { method: "POST", headers: { ...TEXT, "stream-closed": "true" }, body: "last" });
    expect(await rest).toEqual(["last"]);
    await expect(log.append([batchOf(["x"])])).rejects.toMatchObject({
      code: "CLOSED",
      details: { edge: "STREAM_CLOSED" },
    });
    log.socket.close();
  });

  it("unacknowledged appends go out again through the next socket, and are duplicates there", async () => {
    const path = await make(fresh());
    const first = await bind(path);
    await first.append([batchOf(["a", "b"], 9, 0)]);
    first.socket.close();
    await evictDurableObject(objectOf(path));
    const second = await bind(path);
    expect(await second.append([batchOf(["a", "b"], 9, 0)])).toMatchObject([
      { baseOffset: 0, lastOffset: 1, duplicate: true },
    ]);
    expect(await second.append([batchOf(["c"], 9, 2)])).toMatchObject([{ baseOffset: 2, duplicate: false }]);
    await expect(second.append([batchOf(["e"], 9, 5)])).rejects.toMatchObject({ code: "OUT_OF_ORDER_SEQUENCE" });
    await expect(second.append([batchOf(["x", "y"], 9, 0)])).rejects.toMatchObject({ code: "SEQUENCE_CONFLICT" });
    await expect(second.append([batchOf(["x"])], { ifEnd: 1 })).rejects.toMatchObject({ code: "OFFSET_CONFLICT" });
    expect(await second.append([batchOf(["d"])], { ifEnd: 3 })).toMatchObject([{ baseOffset: 3 }]);
    expect(await take(second.follow(0), 4)).toEqual(["a", "b", "c", "d"]);
    second.socket.close();
  });
});

describe("many logs on one socket", () => {
  it("fifty logs append and follow beside each other, and share nothing", async () => {
    const socket = await many();
    const paths = await Promise.all(Array.from({ length: 50 }, () => make(fresh())));
    const logs = await Promise.all(paths.map((path) => socket.open(path)));
    const following = logs.map((log) => take(log.follow("earliest", { windowBytes: 64 * 1024 }), 5));
    await Promise.all(
      logs.map(async (log, n) => {
        for (let i = 0; i < 5; i++) await log.append([batchOf([`${n}:${i}`])]);
      }),
    );
    const found = await Promise.all(following);
    expect(found).toEqual(logs.map((_, n) => Array.from({ length: 5 }, (_, i) => `${n}:${i}`)));
    logs[3]!.close();
    await expect(logs[3]!.append([batchOf(["x"])])).rejects.toMatchObject({ code: "CLOSED" });
    expect(await logs[4]!.append([batchOf(["x"])])).toMatchObject([{ baseOffset: 5 }]);
    socket.close();
  });

  it("an unknown log and a wrong name fail alone, and the socket goes on", async () => {
    const socket = await many();
    await expect(socket.open("not/there")).rejects.toMatchObject({ code: "UNKNOWN_TOPIC" });
    await expect(socket.open("__ds/subscriptions")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    const log = await socket.open(await make(fresh()));
    expect(await log.append([batchOf(["fine"])])).toMatchObject([{ baseOffset: 0 }]);
    socket.close();
  });
});

describe("sleep and reset", () => {
  it("a follow goes on after its object was evicted, from its position and with its credits", async () => {
    const path = await make(fresh());
    const log = await bind(path);
    const follow = log.follow("earliest");
    await post(path, "one");
    expect(await take(follow, 1)).toEqual(["one"]);
    for (const text of ["two", "three", "four"]) {
      await evictDurableObject(objectOf(path), { webSockets: "hibernate" });
      await post(path, text);
      expect(await take(follow, 1)).toEqual([text]);
    }
    await evictDurableObject(objectOf(path), { webSockets: "hibernate" });
    expect(await log.append([batchOf(["five"])])).toMatchObject([{ baseOffset: 4 }]);
    expect(await take(follow, 1)).toEqual(["five"]);
    log.socket.close();
  });

  it("after a reset the socket says so, and a reader goes on from its offset without loss or repetition", async () => {
    const path = await make(fresh());
    const seen: string[] = [];
    let from = 0;
    for (let life = 0; life < 4; life++) {
      const log = await bind(path);
      const follow = log.follow(from);
      await log.append([batchOf([`${life}`])]);
      const { value } = await follow.next();
      seen.push(...textsOf(value!));
      from = value!.nextOffset;
      await abortAllDurableObjects();
      expect((await log.socket.ended).code).toBe(1012);
      await expect(log.append([batchOf(["lost"])])).rejects.toMatchObject({ kind: "reopen" });
    }
    expect(seen).toEqual(["0", "1", "2", "3"]);
  });

  it("on a shared socket only the reset log's channel ends, and the log can be opened again", async () => {
    const socket = await many();
    const path = await make(fresh());
    const [kept, reset] = [await socket.open(await make(fresh())), await socket.open(path)];
    expect(await reset.append([batchOf(["before"])])).toMatchObject([{ baseOffset: 0 }]);
    const follow = reset.follow("latest").next();
    const ended = expect(follow).rejects.toMatchObject({ code: "CLOSED", details: { reason: "reset" } });
    // Resets this object and no other; the call ends with it.
    await runInDurableObject(objectOf(path), (_, state: { abort(reason: string): void }) =>
      state.abort("reset by the test"),
    ).catch(() => undefined);
    await ended;
    expect(await kept.append([batchOf(["still here"])])).toMatchObject([{ baseOffset: 0 }]);
    const again = await socket.open(path);
    expect(await again.append([batchOf(["after"])])).toMatchObject([{ baseOffset: 1 }]);
    socket.close();
  });

  it("on a shared socket only the deleted log's channel ends", async () => {
    const socket = await many();
    const path = await make(fresh());
    const [kept, doomed] = [await socket.open(await make(fresh())), await socket.open(path)];
    const follow = expect(doomed.follow("earliest").next()).rejects.toMatchObject({ details: { edge: "GONE" } });
    await SELF.fetch(at(path), { method: "DELETE" });
    await follow;
    expect(await kept.append([batchOf(["still here"])])).toMatchObject([{ baseOffset: 0 }]);
    socket.close();
  });
});
